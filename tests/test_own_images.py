"""Nothing outside `datasets` knows ten classes or 28 x 28 pixels: three classes in colour go through."""

import io
import tokenize

import pytest
import torch

from condgen.base import files
from condgen.datasets import data
from condgen.evaluation import suite
from condgen.models import MODELS, classifier, split_state
from condgen.models.cvae import bits_per_dimension
from condgen.reporting import gallery, plots, report
from condgen.sampling import generator, latent
from condgen.training import loop
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import SHAPES

FEW = {"epochs": 2, "batch_size": 20}


def images(n, seed):
    """Each class has its colour, on noise; the third is rare."""
    g = torch.Generator().manual_seed(seed)
    y = torch.where(torch.arange(n) % 10 == 9, 2, torch.arange(n) % 2)
    x = 0.2 * torch.rand(n, 3, 10, 10, generator=g)
    x[torch.arange(n), y] += 0.7
    return data.Images(x.flatten(1), y)


@pytest.fixture(scope="module")
def split():
    return data.Split(images(120, 0), images(20, 1), images(60, 2), SHAPES, "shapes, made up")


def trained(kind, p, split):
    state = begin(kind, p, split.spec, 0, len(split.train))
    rows = [{"epoch": e} | n for e, n in loop.train(kind, state, split, p, 0, Progress(p.section, p.epochs))]
    return state.trained, rows


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_three_classes_in_colour_are_trained_drawn_measured_and_reported(
    split, cvae_params, cgan_params, classifier_params, tmp_path, network
):
    """10 pixels are no multiple of 4 either, which the convolutions' strides take."""
    changes = {"network": network, "hidden": 32, "channels": 8}
    params = {
        "cvae": cvae_params.model_copy(update=FEW | changes | {"prior": "flow", "flow_hidden": 16}),
        "cgan": cgan_params.model_copy(update=FEW | changes | {"conditioning": "projection", "dropout": 0.0}),
    }
    p = classifier_params.model_copy(update={"epochs": 30, "batch_size": 20})
    judge, _ = trained(classifier, p, split)
    _, accuracy = classifier.score(judge, split.test)
    assert accuracy > 0.95

    drawn, histories, curves, spaces = {}, {}, {}, {}
    for name, model in MODELS.items():
        network, rows = trained(model.module, params[name], split)
        files.write_model(tmp_path / name, *split_state(network, name))
        made = generator.load(tmp_path / name)
        samples = latent.sample(made, 20, seed=0)
        assert samples["images"].shape == (60, 10, 10, 3)
        drawn[name] = data.Images(
            SHAPES.to_float(samples["images"]), torch.from_numpy(samples["labels"]).long()
        )
        plots.samples(str(tmp_path / "s"), SHAPES, name, samples)
        spaces[name] = latent.pictures(made, 3, 0)
        plots.latent_space(str(tmp_path / "s"), SHAPES, name, spaces[name])
        histories[name] = data.Images(torch.rand(2, 30, SHAPES.pixels), SHAPES.every_class(10))
        curves[name] = rows
    measured = suite.measure_all(drawn, histories, split, judge, p.model_copy(update={"epochs": 2}), 2)
    rare = int((split.train.y == 2).sum())
    assert {m.images for m in measured.values()} == {20 + 20 + rare}, "all sets have the same numbers"
    real = measured["real"].values["class_accuracy"]
    assert (real.value, real.n) == (accuracy, len(split.test)), "of images that the classifier never saw"

    for m in measured.values():
        assert m.values["coverage_second"].n == len(split.test)
    bounds = dict.fromkeys(suite.BOUND_KEYS, 1.0) | {f"{key}_interval": [0.0, 2.0] for key in suite.BOUNDS}
    costs = {name: dict.fromkeys(suite.COSTS, 1) for name in MODELS}
    bits = {suite.BITS: bits_per_dimension(-1.0, SHAPES)}
    results = suite.results(measured, split, "test", {"test_accuracy": accuracy}, bounds | bits, costs)
    assert {claim["verdict"] for claim in results["claims"]} == {"not trained enough to tell"}
    assert suite.headline(results)["cvae"]["epochs"] == 2
    plots.evaluation(str(tmp_path / "e"), results, curves)
    pairs = suite.nearest_pairs(drawn, split)
    plots.nearest(str(tmp_path / "e"), pairs)
    files.write_npz(tmp_path / "latent.npz", **latent.arrays(spaces, SHAPES.count))
    spaces = gallery.read_latent(tmp_path / "latent.npz", SHAPES)
    pictures = gallery.build(SHAPES, drawn | {"real": split.test}, histories, spaces, pairs)
    assert not pictures.ink, "colours are shown as they are"
    report.html(tmp_path / "report.html", results, pictures, curves)
    text = (tmp_path / "report.html").read_text()
    assert all(text.count(f': {name}"') > 6 for name in SHAPES.classes), "pictures of each class, by name"
    assert "Told which class to draw" in text
    assert "digit" not in text
    assert [row["class"] for row in report.accuracy_rows(results)] == list(SHAPES.classes)


def test_no_module_outside_datasets_has_mnists_numbers(root):
    for path in (root / "src/condgen").rglob("*.py"):
        if path.parent.name != "datasets":
            words = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
            numbers = {word.string for word in words if word.type == tokenize.NUMBER}
            assert not numbers & {"28", "784"}, path
