"""A model as ONNX draws what the network draws; its folder is whole or not there, and names no machine."""

import os
import re
from importlib import util

import numpy as np
import pytest
import torch
import yaml

from check_page import names_of_this_machine
from condgen.base import files
from condgen.base.errors import UserError
from condgen.cli import main
from condgen.models import cgan, cvae, split_state
from condgen.sampling import generator
from condgen.sharing import card, onnx, origin, repository
from specs import DIGITS, SHAPES

pytest.importorskip("onnxscript", reason="pip install -e '.[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install -e '.[export]'")

CONV = {"network": "conv", "channels": 2}
# Every kind of network and prior that params.yaml allows, small; in both shapes of images.
KINDS = {
    "cvae": (cvae, DIGITS, {"layers": 2}),
    "cvae, a Gaussian a class, in colour": (cvae, SHAPES, {"prior": "class"}),
    "cvae, flow, convolutions": (
        cvae, DIGITS, CONV | {"prior": "flow", "latent_dim": 3, "couplings": 2, "flow_hidden": 4},
    ),
    "cgan, spectral norm": (cgan, DIGITS, {"spectral_norm": True}),
    "cgan, projection, convolutions, in colour": (
        cgan, SHAPES, CONV | {"dropout": 0.0, "spectral_norm": True, "conditioning": "projection"},
    ),
}  # fmt: skip


@pytest.fixture
def results(root):
    return files.read_json(root / "docs/results/evaluate.json")


def trained(folder, request, module, spec, change):
    """A model of random weights, as its stage writes it."""
    name = module.__name__.rpartition(".")[2]
    p = request.getfixturevalue(f"{name}_params").model_copy(update={"hidden": 8} | change)
    network = module.build(p, spec, 0).eval()
    with torch.no_grad():  # a fresh prior, and fresh batch statistics, would do nothing
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)))
    files.write_model(folder, *split_state(network, name))
    return generator.load(folder)


@pytest.fixture
def model(request, tmp_path):
    return trained(tmp_path / "model", request, cgan, DIGITS, {"latent_dim": 5})


@pytest.mark.parametrize("kind", KINDS, ids=lambda name: name.replace(" ", "-"))
def test_every_kind_of_network_draws_the_same_as_onnx(request, tmp_path, kind):
    found = trained(tmp_path / "m", request, *KINDS[kind])
    session = onnxruntime.InferenceSession(onnx.export(found))
    assert [i.name for i in session.get_inputs()] == ["labels", "noise"]
    for n in (1, 7):
        labels, noise = torch.arange(n) % found.spec.count, torch.randn(n, found.latent_dim)
        (pictures,) = session.run(None, {"labels": labels.numpy(), "noise": noise.numpy()})
        assert pictures.shape == (n, *found.spec.shape)
        assert 0 <= pictures.min() <= pictures.max() <= 1
        rounded = (pictures * 255).round().astype(int)
        assert abs(rounded - found.draw(noise, labels)).max() <= 1
        assert abs(pictures - rounded / 255).max() <= 0.5 / 255 + 1e-5


def test_a_file_that_draws_something_else_is_refused(model, monkeypatch):
    content = onnx.export(model)
    drawing = onnx.Drawing(model)
    monkeypatch.setattr(onnx.Drawing, "forward", lambda self, *inputs: torch.zeros(len(inputs[0]), 28, 28))
    with pytest.raises(UserError, match="the ONNX file differs from the network by 0"):
        onnx._check(content, drawing, model)


def test_the_folder_is_a_model_repository_that_draws_and_names_no_machine(
    model, results, tmp_path, monkeypatch
):
    known = origin.known({"seed": 3, "cgan.lr": 0.5, "cvae.lr": 0.25, "cgan.r1": True}, results, "cgan")
    repository.write(tmp_path / "hub/mine", model, known)
    folder = tmp_path / "hub/mine"
    names = {"README.md", "config.json", "model.onnx", "model.safetensors", "origin.json"}
    assert {file.name for file in folder.iterdir()} == names
    labels = DIGITS.every_class(2)
    assert np.array_equal(generator.load(folder).images(labels, "a", 0), model.images(labels, "a", 0))
    assert origin.find(folder, model) == known

    text = (folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "mit"
    metrics = {m["type"]: m["value"] for m in header["model-index"][0]["results"][0]["metrics"]}
    assert metrics["recall"] == results["cgan"]["recall"]
    assert "| `cgan.lr` | 0.5 |" in text
    assert "| `cgan.r1` | true |" in text
    assert "cvae.lr" not in text
    monkeypatch.chdir(folder)
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        scope = {}
        exec(code, scope)
        if "pictures" in scope:
            assert scope["pictures"].shape == (10, 28, 28)
        else:
            assert scope["state"].keys() == model.used().keys()
    for file in folder.iterdir():
        content = file.read_bytes().decode(errors="replace")
        assert not [part for part in (str(tmp_path), "/src/", ".py", "site-packages") if part in content], (
            file
        )
        if file.suffix in (".md", ".json"):
            assert names_of_this_machine(content) == []


def test_a_second_export_of_the_folder_is_the_same(model, tmp_path):
    known = origin.Origin({"seed": 0}, {}, "article")
    repository.write(tmp_path / "a", model, known, half=True)
    again = generator.load(tmp_path / "a")
    repository.write(tmp_path / "b", again, origin.find(tmp_path / "a", again), half=True)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    assert "Not measured" in (tmp_path / "a/README.md").read_text()


def test_the_card_says_the_limits_that_the_numbers_show(model, results):
    results["real"] |= {"class_accuracy": 0.99, "coverage": 0.9, "sharpness": 1.0}
    results["cgan"] |= {"class_accuracy": 0.5, "coverage": 0.25, "sharpness": 0.1}
    poor = card.text(model, origin.known({"seed": 0}, results, "cgan"), "float32", 1)
    assert "50.0 % of its images are of another class" in poor
    assert "only 25.0 % of real images have a drawn one near them" in poor
    assert "a sharpness of 0.10" in poor
    results["cgan"] |= {"class_accuracy": 0.98, "coverage": 0.89, "sharpness": 0.99}
    good = card.text(model, origin.known({"seed": 0}, results, "cgan"), "float32", 1)
    assert not re.search("of another class|lacks diversity|blurred", good)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_export_that_fails_midway_leaves_nothing(model, tmp_path, monkeypatch, failure):
    def fail(model):
        raise failure

    monkeypatch.setattr(onnx, "export", fail)
    with pytest.raises(UserError if isinstance(failure, OSError) else KeyboardInterrupt):
        repository.write(tmp_path / "new", model, origin.Origin({}, {}))
    assert os.listdir(tmp_path) == ["model"]


def test_what_cannot_be_exported_is_one_line(request, model, tmp_path, monkeypatch):
    plain = trained(tmp_path / "plain", request, cgan, DIGITS, {"conditional": False})
    with pytest.raises(UserError, match=r"was trained with cgan\.conditional false"):
        repository.write(tmp_path / "new", plain, origin.Origin({}, {}))
    with pytest.raises(UserError, match="model exists and is not an empty folder"):
        repository.write(tmp_path / "model", model, origin.Origin({}, {}))
    monkeypatch.setattr(
        onnx, "find_spec", lambda name: None if name == "onnxscript" else util.find_spec(name)
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"condgen: ONNX needs onnxscript: pip install .*\[export\]"):
        main(["export-model", "--model", "model", "--out", "new"])
    assert not (tmp_path / "new").exists()
