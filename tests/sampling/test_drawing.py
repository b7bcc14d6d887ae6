"""The model draws the digits it is asked for, and a data set is exported whole or not at all."""

import hashlib
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import MNIST, ImageFolder

from condgen.base import files
from condgen.base.errors import UserError
from condgen.datasets.spec import Spec
from condgen.models import cgan, cvae, split_state
from condgen.sampling import drawing, generator
from specs import DIGITS, SHAPES

TEXT = "2026-11 3"
CODE = [int(c) for c in TEXT if c.isdigit()]


@pytest.fixture(params=["cvae", "cgan"])
def folder(request, tmp_path):
    """An untrained model of each kind as its stage writes it."""
    build = {"cvae": cvae.build, "cgan": cgan.build}[request.param]
    model = build(request.getfixturevalue(f"{request.param}_params"), DIGITS, 0)
    files.write_model(tmp_path / "model", model.state_dict(), dict(model.config, model=request.param))
    return tmp_path / "model"


@pytest.fixture
def model(folder):
    return generator.load(folder)


@pytest.fixture
def cvae_model(cvae_params):
    return generator.Generator("cvae", cvae.build(cvae_params, DIGITS, 0).eval(), "md5", torch.device("cpu"))


def alike(a, b) -> bool:
    """Equal up to rounding, which in a matrix product may depend on the other rows."""
    return a.shape == b.shape and np.abs(a.astype(int) - b.astype(int)).max() <= 1


def content(folder) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_images_depend_on_seed_stream_and_temperature_and_not_on_the_batch(model, monkeypatch):
    labels = torch.arange(10).repeat(3)
    a = model.images(labels, "a", 0)
    assert a.shape == (30, 28, 28)
    assert a.dtype == np.uint8
    assert np.array_equal(a, model.images(labels, "a", 0))
    for other in (("b", 0), ("a", 1), ("a", 0, 0.5)):
        assert not alike(a, model.images(labels, *other))
    cold = model.images(labels, "a", 0, 0.0).reshape(3, 10, 28, 28)
    assert alike(cold, cold[:1].repeat(3, 0)), "without noise, only the label matters"
    assert not alike(cold[0, :9], cold[0, 1:])
    monkeypatch.setattr(generator, "BATCH", 7)
    assert alike(a, model.images(labels, "a", 0))


def test_every_digit_of_a_text_is_drawn_in_its_cell_and_separators_are_printed(model):
    picture = drawing.picture(TEXT, model, temperature=0)
    space = round(28 * drawing.GLYPH_WIDTH)
    assert picture.shape == (28, 7 * 28 + 2 * space)
    cells = np.split(picture, np.cumsum([28 if c.isdigit() else space for c in TEXT])[:-1], axis=1)
    digits = np.stack([cell for cell, c in zip(cells, TEXT, strict=True) if c.isdigit()])
    assert alike(digits, model.images(torch.tensor(CODE), "any", 9, 0.0))
    assert not cells[TEXT.index(" ")].any()
    prints = [drawing.picture(f"1{c}", model)[:, 28:].tobytes() for c in drawing.SEPARATORS]
    assert len(set(prints)) == len(drawing.SEPARATORS)
    assert cells[TEXT.index("-")].tobytes() == prints[drawing.SEPARATORS.index("-")]


def test_each_row_has_its_own_noise_whatever_the_number_of_rows(model):
    rows = np.split(drawing.picture(TEXT, model, variants=3, seed=4), 3)
    assert not alike(rows[0], rows[1])
    assert not alike(rows[1], rows[2])
    assert np.array_equal(rows[0], drawing.picture(TEXT, model, seed=4))
    assert np.array_equal(np.vstack(rows[:2]), drawing.picture(TEXT, model, variants=2, seed=4))
    assert not alike(rows[0], drawing.picture(TEXT, model, seed=5))


def test_a_picture_is_written_at_its_scale(cvae_model, tmp_path):
    drawing.draw(tmp_path / "new/a.PNG", "1-2", [cvae_model], 2, seed=3, temperature=0.5, scale=3)
    expected = drawing.picture("1-2", cvae_model, 2, seed=3, temperature=0.5)
    with Image.open(tmp_path / "new/a.PNG") as image:
        assert np.array_equal(np.asarray(image), expected.repeat(3, 0).repeat(3, 1))


def test_both_models_are_drawn_below_each_other_with_their_names(cvae_model, cgan_params, tmp_path):
    gan = generator.Generator("cgan", cgan.build(cgan_params, DIGITS, 0).eval(), "md5", torch.device("cpu"))
    drawing.draw(tmp_path / "both.png", "1-2", [cvae_model, gan], 2, scale=1)
    with Image.open(tmp_path / "both.png") as image:
        found = np.asarray(image)
    pictures = [drawing.picture("1-2", model, 2) for model in (cvae_model, gan)]
    width = pictures[0].shape[1]
    assert np.array_equal(found[:, -width:], np.vstack(pictures))
    names = np.split(found[:, :-width], 2)
    assert all(name.max() > 200 for name in names), "in white"
    assert not np.array_equal(*names)
    small = cgan.build(cgan_params, SHAPES, 0).eval()
    other = generator.Generator("cgan", small, "md5", torch.device("cpu"))
    with pytest.raises(UserError, match="the models draw other classes or sizes"):
        drawing.draw(tmp_path / "x.png", "1", [cvae_model, other])
    assert not (tmp_path / "x.png").exists()


def test_a_picture_without_a_name_gets_a_new_one_from_its_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(drawing.new_name("2026-11-22")) == "2026-11-22.png"
    (tmp_path / "2026-11-22.png").touch()
    (tmp_path / "2026-11-22_2.png").symlink_to("nothing")
    assert str(drawing.new_name("2026-11-22")) == "2026-11-22_3.png"
    assert str(drawing.new_name("bag, coat")) == "bag-coat.png"
    assert str(drawing.new_name("../12:30")) == "12-30.png"
    assert str(drawing.new_name("-:-")) == "drawn.png"
    assert len(str(drawing.new_name("1" * 100))) < 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "12a"}, "character 'a', but must consist of digits, spaces and - . , : / [+]$"),
        ({"text": "1\n2"}, r"character '\\n'"),
        ({"text": "٣1"}, "character '٣'"),
        ({"text": "-:-"}, "has no digit"),
        ({"text": "1" * 101}, "101 characters, but must have at most 100"),
        ({"variants": 101}, "variants is 101, but must be in"),
        ({"scale": 0}, "scale is 0, but must be in"),
        ({"text": "1" * 100, "variants": 100}, "11200 x 11200 pixels"),
        ({"seed": 2**32}, "seed is 4294967296, but must be in"),
        ({"temperature": float("inf")}, "temperature is inf, but must be in"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"path": "file/a.png"}, "file/a.png cannot be written: "),
    ],
)
def test_an_impossible_picture_is_refused_in_one_line(cvae_model, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message) as error:
        drawing.draw(**{"path": "a.png", "text": "12", "models": [cvae_model]} | change)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_without_a_generator_is_refused_with_what_to_do(folder):
    for name in ("classifier", None, ["cvae"]):
        files.write_json(folder / "config.json", {"model": name})
        with pytest.raises(UserError, match=r"config.json: model is .*, but must be cvae or cgan"):
            generator.load(folder)
    for absent in ("config.json", "model.safetensors"):
        (folder / absent).unlink()
        with pytest.raises(UserError, match=f"{absent} is missing: 'dvc repro' makes it"):
            generator.load(folder)


HOSTILE = {
    "hidden": (1_000_000, 10**30, -1, 0, 2.0, "8", None, True, [8], 9),
    "latent_dim": (10**9, 3, "2"),
    "conditional": ("no", 0, None, False),
    "network": ("cnn", "conv", 1),
    "spec": (
        {},
        None,
        {"classes": ["a", "b"], "side": 10**6, "channels": 1},
        {"classes": ["a"] * 10, "side": 28},
    ),
    "depth": (3,),
    "leak": ("0.1", None, [0.1], 1e308, float("nan"), float("inf"), -0.1, True),
    "layers": (10**6, 64),
    "couplings": (10**6,),
}


@pytest.mark.attack
@pytest.mark.parametrize(("key", "values"), HOSTILE.items(), ids=str)
def test_a_hostile_config_is_refused_before_anything_is_built(folder, monkeypatch, key, values):
    config = files.read_json(folder / "config.json")
    if key not in (*config, "depth"):
        pytest.skip("not in this model")
    built = []
    for kind in (torch.nn.Linear, torch.nn.Conv2d):
        made = kind.__init__

        def init(self, *words, made=made, **options):
            made(self, *words, **options)
            built.append(self.weight.device.type)

        monkeypatch.setattr(kind, "__init__", init)
    for value in values:
        (folder / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError, match=r"the files of the \w+ do not fit together") as caught:
            generator.load(folder)
        assert len(str(caught.value)) < 500
    assert "cpu" not in built
    (folder / "config.json").write_text(json.dumps(config))
    generator.load(folder)
    assert "cpu" in built


@pytest.mark.attack
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, value):
    state, config = files.read_model(folder)
    name = next(name for name in reversed(state) if name.endswith("weight"))
    state[name][-1] = value
    files.write_model(folder, state, config)
    with pytest.raises(UserError, match=rf"{name} holds NaN or infinity"):
        generator.load(folder)


@pytest.mark.attack
def test_pictures_that_are_not_finite_are_no_pictures(cvae_model, monkeypatch):
    monkeypatch.setattr(cvae, "draw", lambda model, z, labels: torch.full((len(z), 784), float("nan")))
    with pytest.raises(UserError, match="this cvae draws NaN: its weights are damaged"):
        cvae_model.images(torch.arange(10), "a", 0)


@pytest.mark.attack
@pytest.mark.parametrize(
    "change", [lambda t: t.double(), lambda t: t.int(), lambda t: t[:-1], lambda t: t[None]]
)
def test_weights_of_another_type_or_shape_are_refused(folder, change):
    state, config = files.read_model(folder)
    name = next(name for name in state if name.endswith("weight"))
    files.write_model(folder, state | {name: change(state[name])}, config)
    with pytest.raises(UserError, match=rf"{name} is .*, but by config.json it must be float32 \["):
        generator.load(folder)


def test_an_unconditional_model_is_refused(cvae_params, tmp_path):
    network = cvae.build(cvae_params.model_copy(update={"conditional": False}), DIGITS, 0)
    model = generator.Generator("cvae", network, "md5", torch.device("cpu"))
    with pytest.raises(UserError, match=r"cvae\.conditional false"):
        drawing.picture("1", model)
    with pytest.raises(UserError, match=r"cvae\.conditional false"):
        drawing.export(tmp_path / "set", model, 1, 1, 0)


def test_an_exported_data_set_loads_as_mnist_and_as_an_image_folder(model, folder, tmp_path):
    out = tmp_path / "new/set"
    drawing.export(out, model, 12, 3, seed=7)
    parts = {}
    for part, count in (("train", 12), ("test", 3)):
        mnist = MNIST(str(out), train=part == "train", download=False)
        x, y = mnist.data.numpy(), mnist.targets.numpy()
        assert x.shape == (10 * count, 28, 28)
        assert np.bincount(y).tolist() == [count] * 10
        assert (np.diff(y) < 0).any(), "classes are mixed"
        pngs = ImageFolder(str(out / "png" / part), loader=lambda path: np.array(Image.open(path)))
        assert pngs.classes == list("0123456789")
        assert pngs.targets == sorted(y)
        assert np.array_equal([image for image, _ in pngs], x[np.argsort(y, kind="stable")])
        parts[part] = {image.tobytes() for image in x}
        assert len(parts[part]) == 10 * count
    assert not parts["train"] & parts["test"], "train and test images have different noise"
    said = files.read_json(out / "dataset.json")
    assert "not real" in said.pop("about")
    md5 = hashlib.md5((folder / "model.safetensors").read_bytes()).hexdigest()
    assert said.pop("classes") == list("0123456789")
    assert list(said.values()) == [files.read_json(folder / "config.json")["model"], md5, 7, 1.0, 12, 3]
    assert os.listdir(tmp_path / "new") == ["set"]


def test_the_same_arguments_give_the_same_bytes_and_images_fit_their_labels(model, tmp_path):
    for name, seed, temperature in (("a", 0, 1.0), ("b", 0, 1.0), ("other", 1, 1.0), ("cold", 0, 0.0)):
        drawing.export(tmp_path / name, model, 2, 1, seed, temperature)
    a, other = content(tmp_path / "a"), content(tmp_path / "other")
    assert a == content(tmp_path / "b")
    assert a.keys() == other.keys()
    assert not [name for name in a if a[name] == other[name]]
    cold = MNIST(str(tmp_path / "cold"))
    assert alike(cold.data.numpy(), model.images(cold.targets, "any", 9, 0.0))


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_data_set_that_fails_midway_leaves_nothing(cvae_model, tmp_path, monkeypatch, failure):
    write = drawing.write_pngs

    def fail_on_test_images(folder, *others):
        write(folder, *others)
        if folder.name == "test":
            raise failure

    monkeypatch.setattr(drawing, "write_pngs", fail_on_test_images)
    expected = UserError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="set cannot be written: No space" if expected is UserError else None):
        drawing.export(tmp_path / "set", cvae_model, 1, 1, 0)
    assert os.listdir(tmp_path) == []


def test_export_needs_an_empty_folder_and_checks_its_arguments_first(cvae_model, tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    drawing.export(tmp_path / "set", cvae_model, 1, 1, 0)
    before = content(tmp_path)
    monkeypatch.delattr(drawing.Generator, "images")
    for taken in ("set", "set/dataset.json"):
        with pytest.raises(UserError, match=f"{taken} exists and is not an empty folder"):
            drawing.export(tmp_path / taken, cvae_model, 1, 1, 1)
    for change in ({"per_class": 0}, {"test_per_class": 100_001}, {"seed": -1}, {"temperature": -1}):
        arguments = {"per_class": 1, "test_per_class": 1, "seed": 0} | change
        with pytest.raises(UserError, match=f"^{next(iter(change))} is "):
            drawing.export(tmp_path / "a/b", cvae_model, **arguments)
    assert content(tmp_path) == before
    assert os.listdir(tmp_path) == ["set"]


def test_images_in_colour_of_named_classes_are_drawn_and_exported(cgan_params, tmp_path):
    """Nothing of drawing is about digits: three classes, 10 x 10 pixels, in colour."""
    network = cgan.build(cgan_params, SHAPES, 0).eval()
    files.write_model(tmp_path / "model", *split_state(network, "cgan"))
    model = generator.load(tmp_path / "model")
    assert model.spec == SHAPES
    picture = drawing.picture("cross, open circle", model, variants=2)
    assert picture.shape == (20, 20, 3)
    assert picture.std(axis=2).max() > 0, "in colour"
    with pytest.raises(UserError, match=r"names 'star', but must be .*: square, open circle, cross"):
        drawing.picture("cross,star", model)

    drawing.export(tmp_path / "set", model, 4, 1, seed=0)
    found = ImageFolder(str(tmp_path / "set/png/train"))
    assert found.classes == sorted(SHAPES.classes)
    assert len(found) == 12
    assert found[0][0].size == (10, 10)
    assert np.asarray(found[0][0]).std(axis=2).max() > 0
    assert not (tmp_path / "set/MNIST").exists(), "MNIST's format has no colour"


def test_classes_of_one_character_make_a_text(cvae_params):
    letters = Spec(classes=("a", "b", "c"), side=28, channels=1)
    model = generator.Generator(
        "cvae", cvae.build(cvae_params, letters, 0).eval(), "md5", torch.device("cpu")
    )
    assert drawing.picture("cab-a", model).shape == (28, 4 * 28 + 16)
    with pytest.raises(UserError, match="has the character '1', but must consist of the classes abc, spaces"):
        drawing.picture("a1", model)


def test_two_digits_as_classes_are_named_in_the_message(cvae_params):
    binary = Spec(classes=("0", "1"), side=28, channels=1)
    model = generator.Generator("cvae", cvae.build(cvae_params, binary, 0).eval(), "md5", torch.device("cpu"))
    with pytest.raises(UserError, match="has the character '2', but must consist of the classes 01, spaces"):
        drawing.picture("2026", model)
