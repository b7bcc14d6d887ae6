"""Bad input is refused in one line that says what is wrong and what it must be, and changes nothing.

Most tests run a stage's `main` in this process, in a small finished checkout; the last ones start it as a
user does. In all of them the exit status is not 0, there is no traceback, and the files below data/ are
unchanged.
"""

import errno
import gzip
import hashlib
import http.server
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import yaml
from torchvision import datasets

from checkout import run
from condgen import cli as command
from condgen import preflight
from condgen.base import files, params
from condgen.evaluation import suite

ROOT = Path(__file__).resolve().parents[1]

# Helpers


def never(*args):
    raise AssertionError("the stage began its work")


def snapshot(folder):
    """Path -> bytes of every file below data/, and None for folders."""
    below = folder / "data"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in [below, *below.rglob("*")]
    }


def refused(folder, call, *said):
    """Calls something that must fail in one line. Returns the line."""
    before = snapshot(folder)
    with pytest.raises(SystemExit) as caught:
        call()
    line = caught.value.code  # Python writes a text to stderr and exits with status 1
    assert isinstance(line, str)
    assert line.startswith("condgen: ")
    assert line.splitlines() == [line]
    assert len(line) < 1500
    for text in said:
        assert text in line
    assert snapshot(folder) == before
    return line


def test_the_undamaged_checkout_is_accepted(checkout, monkeypatch):
    run("sample")
    before = snapshot(checkout)
    assert "data/plots/sample/training.gif" in before
    monkeypatch.setattr(suite, "measure", never)  # slow, and reads no file
    with pytest.raises(AssertionError, match="began its work"):
        run("evaluate")
    assert snapshot(checkout) == before


# params.yaml


def sections():
    """The sections that a stage checks before it works."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "check", lambda content, path, sections: found.extend(sections))
        preflight.check_params("params.yaml")
    return found


FIELDS = {f"{s.section}.{key}": field for s in sections() for key, field in s.model_fields.items()}
SCALARS = [
    key for key, value in yaml.safe_load((ROOT / "params.yaml").read_text()).items() if type(value) is int
]
WRONG_TYPE = {
    bool: ["yes please", 1, 0.0, None, [True], {"a": True}],
    int: ["many", 2.5, True, None, [3], {"a": 3}, "3"],
    float: ["fast", True, None, [0.1], {"a": 0.1}, "", "0.1"],
    str: ["nonsense", 3, None, ["MNIST"], {"a": 1}, ""],
    list: ["1, 10", 3, None, {"a": 1}, [1.5], ["a"], [None], [True], [[1]], [0], [-3], []],
}


def kind(field):
    origin = get_origin(field.annotation)
    return str if origin is Literal else origin or field.annotation


def out_of_range(field):
    step = 1 if kind(field) is int else 1e-9
    for rule in field.metadata:
        for bound, value in (("gt", 0), ("ge", -step), ("lt", 0), ("le", step)):
            limit = getattr(rule, bound, None)
            if limit is not None:
                yield limit + value
                yield limit + (1e6 if bound[0] == "l" else -1e6) * (1 if kind(field) is float else 10**6)


def parameter_cases():
    """(key, what is wrong with it, values) for every parameter."""
    for key in SCALARS:
        yield key, "type", ["many", 2.5, True, None, [3], {"a": 3}]
        yield key, "range", [-1, 2**32, 10**30]
        yield key, "not finite", [math.nan, math.inf, -math.inf]
    for key, field in FIELDS.items():
        # A free name may be any text, and the numbers of a Literal are allowed.
        allowed = get_args(field.annotation) or ("nonsense",) * (field.annotation is str)
        yield key, "type", [value for value in WRONG_TYPE[kind(field)] if value not in allowed]
        if kind(field) in (int, float):
            values = [round(v) if kind(field) is int else v for v in out_of_range(field)]
            assert len(values) >= 4, f"{key} has no lower or no upper bound"
            yield key, "range", values
            yield key, "not finite", [math.nan, math.inf, -math.inf, "nan", "inf"]


def change(path, dotted, act):
    """Changes params.yaml: act(section, key)."""
    content = yaml.safe_load(path.read_text())
    section, _, key = dotted.rpartition(".")
    act(content[section] if section else content, key)
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("key", "values"), [pytest.param(k, v, id=f"{k}: {what}") for k, what, v in parameter_cases()]
)
def test_a_value_of_the_wrong_type_or_range(checkout, key, values):
    path = checkout / "params.yaml"
    for value in values:
        change(path, key, lambda section, name, value=value: section.__setitem__(name, value))
        refused(checkout, lambda: preflight.run(never), f"params.yaml: {key} is {value!r}, but must be ")


def test_a_stage_that_dvc_runs_says_how_to_get_back_what_dvc_removed(checkout, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train_cvae")
    change(checkout / "params.yaml", "cvae.lr", lambda section, name: section.__setitem__(name, "abc"))
    said = "cvae.lr is 'abc', but must be a number in (0, 1]; correct it, then 'dvc checkout' brings"
    refused(checkout, lambda: preflight.run(never), said)


@pytest.mark.parametrize("key", [*SCALARS, *FIELDS])
def test_a_key_that_is_missing_or_misspelt(checkout, key):
    path = checkout / "params.yaml"
    good = path.read_text()
    change(path, key, lambda section, name: section.pop(name))
    refused(checkout, lambda: preflight.run(never), f"params.yaml: {key} is missing: it must be ")
    path.write_text(good)
    change(path, key, lambda section, name: section.__setitem__(name + "s", section[name]))
    refused(checkout, lambda: preflight.run(never), f"{key}s is ", " has no such key: it has ")
    change(path, key, lambda section, name: section.pop(name))
    refused(checkout, lambda: preflight.run(never), f"{key} is missing, and {key}s is unknown")


@pytest.mark.parametrize("section", sorted({key.split(".")[0] for key in FIELDS}))
def test_a_section_that_is_missing_or_not_a_section(checkout, section):
    path = checkout / "params.yaml"
    for value in (None, 3, "text", [1], True):
        change(path, section, lambda content, name, value=value: content.__setitem__(name, value))
        refused(checkout, lambda: preflight.run(never), "params.yaml: ", section)
    change(path, section, lambda content, name: content.pop(name))
    refused(checkout, lambda: preflight.run(never), f"{section} is missing: it must be a section with ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [", "params.yaml is not YAML"),
        ("seed: 0\n  data: 3", "params.yaml is not YAML"),
        ("\tseed: 0", "params.yaml is not YAML"),
        ("seed: 'a", "params.yaml is not YAML"),
        ("seed: *none", "params.yaml is not YAML"),
        ("seed: !!python/object/apply:os.system ['touch planted']", "params.yaml is not YAML"),
        ("\x00", "params.yaml is not YAML"),
        (b"\xff\xfe\xff", "params.yaml is not YAML"),
        ("", "params.yaml holds NoneType, but must hold named sections"),
        ("- 1", "params.yaml holds list, but must hold named sections"),
        ("text", "params.yaml holds str, but must hold named sections"),
        (None, "params.yaml is missing: run from a checkout of condgen"),
    ],
)
def test_a_params_yaml_that_is_missing_or_malformed(checkout, text, said):
    path = checkout / "params.yaml"
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(checkout, lambda: preflight.run(never), said)
    assert not Path("planted").exists()


# Files that a stage reads


def gone(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def text(path):
    path.write_text("This is a text.")


def folder(path):
    path.unlink()
    path.mkdir()


def array(**changes):
    """Damages arrays of an npz file: each change is None (gone), an array, or a function of the old one."""

    def damage(path):
        with np.load(path) as archive:
            arrays = dict(archive)
        for name, new in changes.items():
            arrays[name] = new(arrays[name]) if callable(new) else new
        files.write_npz(path, **{name: a for name, a in arrays.items() if a is not None})

    return damage


def keys(**changes):
    """Damages keys of a JSON file: each change is None (gone) or the new value."""

    def damage(path):
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return damage


def replaced(old, new):
    def damage(path):
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new))

    return damage


def compressed(path):
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez_compressed(path, **arrays)


def header_of(length):
    """Claims that a safetensors file's header has this length."""
    return lambda path: path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])


def model_of(other):
    """Another model's weights and config, each whole."""

    def damage(path):
        for name in ("model.safetensors", "config.json"):
            shutil.copy(path.parents[1] / other / name, path.parent / name)

    return damage


AGAIN = "run 'dvc repro'"
MNIST, CVAE, CGAN, JUDGE = "dataset.npz", "models/cvae", "models/cgan", "models/classifier"
NUMBERS, WEIGHTS, CONFIG = "metrics/train_cvae.json", "model.safetensors", "config.json"
FILES = [
    # stage, file below data/, damage, what the error says beside the file's name
    ("train_classifier", MNIST, gone, ["is missing: 'dvc repro' makes it"]),
    ("train_cvae", MNIST, gone, ["is missing"]),
    ("train_cgan", MNIST, gone, ["is missing"]),
    ("evaluate", MNIST, gone, ["is missing"]),
    ("train_cvae", MNIST, empty, ["is damaged", AGAIN]),
    ("train_cvae", MNIST, half, ["is damaged", AGAIN]),
    ("train_cvae", MNIST, text, ["is damaged (File is not a zip file)", AGAIN]),
    ("train_cvae", MNIST, folder, ["cannot be read: Is a directory"]),
    ("train_cvae", MNIST, compressed, ["is damaged (x_train is compressed"]),
    ("train_cvae", MNIST, array(x_test=None), ["lacks the array x_test", AGAIN]),
    ("train_cvae", MNIST, array(source=None), ["lacks the array source"]),
    ("train_cvae", MNIST, array(classes=None), ["lacks the array classes"]),
    ("train_cvae", MNIST, array(classes=lambda c: c[:1]), ["classes is ['0'] in", "at least 2", AGAIN]),
    ("train_cvae", MNIST, array(classes=lambda c: np.char.add("a/", c)), ["classes.0 is a/0", AGAIN]),
    ("train_cvae", MNIST, array(classes=np.arange(10)), ["classes.0 is 0 in", "valid string", AGAIN]),
    ("train_cvae", MNIST, array(x_train=lambda x: x[:, :5, :5]), ["side is 5", "[200, 5, 5]", AGAIN]),
    ("train_cvae", MNIST, array(x_train=lambda x: x[..., None]), ["must be uint8 [n, 28, 28]", AGAIN]),
    ("train_cvae", MNIST, array(x_train=lambda x: x / 255), ["x_train is float64", "be uint8 [n, 28, 28]"]),
    ("train_cvae", MNIST, array(x_train=lambda x: x[:, :27]), ["x_train is uint8 [200, 27, 28], but must"]),
    ("train_cvae", MNIST, array(x_test=lambda x: x[0]), ["x_test is uint8 [28, 28], but must"]),
    ("train_cvae", MNIST, array(x_test=lambda x: x[:0]), ["x_test is uint8 [0, 28, 28], but must"]),
    ("train_cvae", MNIST, array(y_train=lambda y: y[1:]), ["y_train is uint8 [199], but must be uint8"]),
    ("train_cvae", MNIST, array(y_train=lambda y: y - 1.0), ["y_train is float64 [200], but must"]),
    ("train_cvae", MNIST, array(y_test=lambda y: y.astype("i1") - 1), ["y_test is int8 [100], but must"]),
    ("train_cvae", MNIST, array(y_test=lambda y: y + np.uint8(1)), ["y_test holds 10, but must hold"]),
    ("train_cvae", MNIST, array(y_test=lambda y: y.astype(str)), ["y_test is <U", "must be uint8"]),
    ("train_cvae", MNIST, array(source=np.array(3)), ["source is int64 [], but must be text"]),
    (
        "train_cvae",
        MNIST,
        array(x_train=lambda x: x[:9], y_train=lambda y: y[:9]),
        ["holds 9 training images, but must hold 10 or more"],
    ),
    (
        "train_classifier",
        MNIST,
        array(x_test=lambda x: x[:5], y_test=lambda y: y[:5]),
        ["holds 5 test images, but must hold 6 or more", "data.test_share"],
    ),
    ("sample", f"{CVAE}/{WEIGHTS}", gone, ["is missing: 'dvc repro' makes it"]),
    ("sample", f"{CGAN}/{WEIGHTS}", empty, ["is damaged", AGAIN]),
    ("sample", f"{CGAN}/{WEIGHTS}", half, ["is damaged", AGAIN]),
    ("sample", f"{CGAN}/{WEIGHTS}", text, ["is damaged", AGAIN]),
    ("sample", f"{CGAN}/{WEIGHTS}", folder, ["cannot be read: Is a directory"]),
    ("sample", f"{CGAN}/{WEIGHTS}", header_of(2**63), ["is damaged", "too large"]),
    ("sample", f"{CGAN}/{WEIGHTS}", header_of(10**8), ["is damaged", "invalid header length"]),
    ("evaluate", f"{JUDGE}/{WEIGHTS}", half, ["is damaged", AGAIN]),
    ("sample", f"{CVAE}/{CONFIG}", gone, ["is missing: 'dvc repro' makes it"]),
    ("sample", f"{CVAE}/{CONFIG}", empty, ["is damaged", AGAIN]),
    ("sample", f"{CVAE}/{CONFIG}", half, ["is damaged", AGAIN]),
    ("sample", f"{CVAE}/{CONFIG}", lambda path: path.write_text("[1]"), ["holds list, but must hold"]),
    ("sample", f"{CVAE}/{CONFIG}", lambda path: path.write_text("[" * 10**5), ["is damaged"]),
    ("evaluate", f"{JUDGE}/{CONFIG}", lambda path: path.write_text("{}"), ["Classifier", "spec"]),
    ("sample", f"{CVAE}/{CONFIG}", keys(spec={"classes": ["a", "b"]}), ["CVAE", "side", "missing"]),
    # A model and its config that do not fit: models.restore names the network.
    ("sample", f"{CVAE}/{CONFIG}", keys(hidden=9), ["CVAE", "encoder.0.weight", "[8, 794]", "[9, 794]"]),
    ("sample", f"{CGAN}/{CONFIG}", keys(latent_dim=5), ["CGAN", "G.hidden.hidden1.weight"]),
    ("sample", f"{CVAE}/{CONFIG}", keys(hidden="8"), ["CVAE"]),
    ("sample", f"{CVAE}/{CONFIG}", keys(hidden=-8), ["CVAE"]),
    ("sample", f"{CVAE}/{CONFIG}", keys(latent_dim=None), ["CVAE", "latent_dim"]),
    ("sample", f"{CVAE}/{CONFIG}", keys(depth=3), ["CVAE", "depth"]),
    ("sample", f"{CVAE}/{CONFIG}", model_of("cgan"), ["config.json: model is 'cgan', but must be cvae"]),
    ("evaluate", f"{JUDGE}/{CONFIG}", keys(channels=3), ["Classifier", "conv1.weight"]),
    ("sample", "history/cvae.npz", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "history/cgan.npz", gone, ["is missing"]),
    ("sample", "history/cgan.npz", half, ["is damaged", AGAIN]),
    ("sample", "history/cgan.npz", array(images=None), ["lacks the array images"]),
    ("sample", "history/cgan.npz", array(images=lambda x: x[0]), ["images is uint8 [100, 28, 28], but must"]),
    ("sample", "history/cgan.npz", array(images=lambda x: x[:, :, 1:]), ["images is uint8 [100, 27, 28]"]),
    ("sample", "history/cgan.npz", array(images=lambda x: x[:0]), ["images is uint8 [0, 100, 28, 28]"]),
    ("sample", "history/cgan.npz", array(images=lambda x: x / 1), ["images is float64", "must be uint8"]),
    ("sample", "history/cgan.npz", array(labels=lambda y: y[1:]), ["labels is uint8 [99], but must be"]),
    ("sample", "history/cgan.npz", array(labels=lambda y: y[::-1]), ["labels is [9, 9", "equally many"]),
    ("sample", "history/cgan.npz", array(epochs=lambda e: e + 1), ["epochs is int64 [2, 3]", "1 to"]),
    ("sample", "history/cgan.npz", array(epochs=lambda e: e[1:]), ["epochs is int64 [2]", "1 to"]),
    ("evaluate", "history/cvae.npz", array(epochs=lambda e: e / 1), ["epochs is float64", "must be int64"]),
    ("evaluate", "samples/cvae.npz", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "samples/cgan.npz", half, ["is damaged", AGAIN]),
    ("evaluate", "samples/cgan.npz", array(labels=None), ["lacks the array labels"]),
    ("evaluate", "samples/cgan.npz", array(images=lambda x: x[:, 0]), ["images is uint8 [100, 28], but"]),
    ("evaluate", "samples/cgan.npz", array(labels=lambda y: y + np.uint8(1)), ["labels holds 10, but must"]),
    ("evaluate", "samples/cgan.npz", array(labels=lambda y: y[1:]), ["labels is uint8 [99], but must"]),
    ("evaluate", "samples/cgan.npz", array(labels=lambda y: np.minimum(y, 8)), ["labels lacks 9, but must"]),
    ("evaluate", "samples/latent.npz", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "samples/latent.npz", array(cgan_same_noise=None), ["lacks the array cgan_same_noise"]),
    ("evaluate", "samples/latent.npz", array(cvae_manifold=lambda x: x[0]), ["cvae_manifold is", "a row of"]),
    ("sample", MNIST, gone, ["is missing: 'dvc repro' makes it"]),
    ("sample", MNIST, array(classes=lambda c: c[::-1].copy()), ["holds other classes or sizes than"]),
    ("evaluate", "playground/game.npz", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "playground/game.npz", half, ["is damaged", AGAIN]),
    ("evaluate", "playground/game.npz", array(scores=None), ["lacks the array scores"]),
    ("evaluate", "playground/game.npz", array(scores=lambda s: s * np.inf), ["scores holds NaN or infinity"]),
    ("evaluate", "playground/game.npz", array(labels=lambda y: y + np.uint8(1)), ["do not exist"]),
    ("evaluate", "playground/game.npz", array(origins=lambda o: o[1:]), ["origins is <U16 [179], but must"]),
    ("evaluate", "playground/game.npz", array(images=lambda x: x[:, 1:]), ["images is uint8 [180, 27, 28]"]),
    ("evaluate", "playground/playground.json", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "playground/playground.json", keys(cgan=None), ["does not describe cvae and cgan", AGAIN]),
    ("evaluate", "playground/playground.json", keys(cgan={"weights": 1}), ["does not describe", AGAIN]),
    ("evaluate", "playground/cvae.safetensors", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "playground/cgan.safetensors", half, ["is damaged", AGAIN]),
    ("evaluate", "playground/cgan.safetensors", header_of(2**40), ["is damaged", AGAIN]),
    ("evaluate", NUMBERS, gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", NUMBERS, half, ["is damaged", AGAIN]),
    ("evaluate", NUMBERS, keys(data="FashionMNIST"), ["data is 'FashionMNIST', but data/dataset.npz is"]),
    ("evaluate", NUMBERS, keys(test_elbo=None), ["test_elbo is missing, but"]),
    ("evaluate", NUMBERS, keys(test_elbo=math.nan), ["test_elbo is nan, but must be a number"]),
    ("evaluate", NUMBERS, keys(test_elbo="low"), ["test_elbo is 'low', but must be a number"]),
    ("evaluate", NUMBERS, keys(test_elbo_interval=[1]), ["test_elbo_interval is [1], but must be"]),
    ("evaluate", NUMBERS, keys(test_iwae_bound=math.inf), ["test_iwae_bound is inf, but must be a number"]),
    ("evaluate", "metrics/train_classifier.json", keys(data="KMNIST"), ["data is 'KMNIST', but"]),
    ("evaluate", "metrics/train_classifier.json", keys(test_accuracy=True), ["test_accuracy is True"]),
    ("evaluate", MNIST, array(source=np.array("KMNIST")), ["data is 'a few digits', but", "'KMNIST'"]),
    ("evaluate", "plots/cvae.csv", gone, ["is missing: 'dvc repro' makes it"]),
    ("evaluate", "plots/cvae.csv", empty, ["is damaged (it has no rows)", AGAIN]),
    ("evaluate", "plots/cgan.csv", replaced("d_loss", "loss"), ["lacks the column d_loss, and has"]),
    ("evaluate", "plots/cgan.csv", replaced("0.5", "low"), ["is damaged (could not convert", AGAIN]),
    ("evaluate", "plots/cgan.csv", replaced("0.5\n", "0.5,0.5\n"), ["is damaged", AGAIN]),
    ("evaluate", "plots/cgan.csv", replaced("0.5,", "0.5,\x00"), ["is damaged", AGAIN]),
]  # fmt: skip


def label_of(case):
    stage, name, damage, said = case
    return f"{stage}: {name}: {damage.__name__ if damage.__name__ != 'damage' else said[0][:40]}"


@pytest.mark.parametrize(
    ("stage", "name", "damage", "said"), [pytest.param(*case, id=label_of(case)) for case in FILES]
)
def test_a_file_that_is_damaged(checkout, stage, name, damage, said):
    damage(checkout / "data" / name)
    network = said[0] in ("CVAE", "CGAN", "Classifier")
    refused(checkout, lambda: run(stage), *said, *([] if network else [f"data/{name}"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "dvc.yaml is missing"),
        ("stages: [", "dvc.yaml is not YAML"),
        ("- 1", "dvc.yaml holds list, but must hold named sections"),
        ("stages: {sample: 3}", "dvc.yaml has no stage"),
    ],
)
def test_a_dvc_yaml_that_is_missing_or_malformed(checkout, text, said):
    (checkout / "dvc.yaml").unlink()
    if text:
        (checkout / "dvc.yaml").write_text(text)
    refused(checkout, lambda: run("sample"), said)


# The data set's own files, and mirrors


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


IMAGES, LABELS = np.arange(20 * 784, dtype=np.uint32).astype(np.uint8).reshape(20, 28, 28), np.arange(20) % 10
LABELS = LABELS.astype(np.uint8)
PACKED = {
    "train-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES)),
    "train-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS)),
    "t10k-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES)),
    "t10k-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS)),
}
X, Y = "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def mirror(checkout, monkeypatch):
    """mirror(served): a folder with a small MNIST, in which `served` replaces or (None) removes files."""

    def make(served=None):
        resources = [(name, hashlib.md5(content).hexdigest()) for name, content in PACKED.items()]
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setattr(datasets.MNIST, "mirrors", [])
        shutil.copytree(ROOT / "data/sets", checkout / "data/sets")
        place = checkout / "mirror"
        place.mkdir()
        for name, content in (PACKED | (served or {})).items():
            if content is not None:
                (place / name).write_bytes(content)
        change(checkout / "params.yaml", "data.source", lambda s, key: s.__setitem__(key, "mirrors"))
        monkeypatch.setenv("MNIST_MIRROR", str(place))
        return place

    return make


def test_the_undamaged_mirror_is_accepted(checkout, mirror):
    mirror()
    run("download")
    x, y, source = files.read_npz("data/dataset.npz", "x_train", "y_test", "source")
    assert np.array_equal(x, IMAGES)
    assert np.array_equal(y, LABELS)
    assert str(source) == "MNIST, all 40 images"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param(X, PACKED[X][:-9], [f"{X} is corrupt: its MD5 is not"], id="truncated"),
        pytest.param(X, b"", [f"{X} is corrupt"], id="empty"),
        pytest.param(X, PACKED[Y], [f"{X} is corrupt"], id="another file"),
        pytest.param(Y, b"<html>log in</html>", [f"{Y} is corrupt"], id="a page"),
        pytest.param(Y, None, [f"has no file {Y}"], id="missing"),
    ],
)
def test_an_image_file_that_is_damaged_or_missing(checkout, mirror, name, content, said):
    place = mirror(served={name: content})
    refused(checkout, lambda: run("download"), *said, str(place), "Set MNIST_MIRROR to")


def test_an_image_file_that_is_a_folder_or_a_pipe(checkout, mirror):
    place = mirror(served={X: None})
    (place / X).mkdir()
    refused(checkout, lambda: run("download"), f"{place} has no file {X}")
    (place / X).rmdir()
    os.mkfifo(place / X)
    refused(checkout, lambda: run("download"), f"{place} has no file {X}")


def test_a_file_that_is_far_too_large_is_not_read(checkout, mirror):
    place = mirror()
    os.truncate(place / X, 2**40)  # sparse: takes no space
    refused(checkout, lambda: run("download"), f"{X} is larger than 64 MiB")


@pytest.fixture
def server():
    """server(answer): the address of a local server that calls answer(request)."""
    started = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *args):
                pass

        started.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(
            target=started[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return f"http://127.0.0.1:{started[-1].server_port}/mnist"

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


def page(status, body=b"<html>Something went wrong</html>", **headers):
    def answer(request):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(page(200), "is corrupt: its MD5 is not", id="a page instead of a file"),
        pytest.param(page(200, b""), "is corrupt", id="an empty page"),
        pytest.param(page(200, Content_Length="many"), "is corrupt", id="a length that is not a number"),
        pytest.param(page(200, Content_Length="-1"), "is corrupt", id="a negative length"),
        pytest.param(page(200, Content_Length="99999"), "IncompleteRead(", id="shorter than its length"),
        pytest.param(page(403), "HTTP status 403", id="forbidden"),
        pytest.param(page(503), "HTTP status 503", id="unavailable"),
        pytest.param(page(302, Location="/mnist/again"), "Exceeded 30 redirects", id="a redirect loop"),
        pytest.param(
            page(302, Location="file:///etc/hostname"), "not a valid address", id="to a file of this machine"
        ),
    ],
)
def test_a_mirror_that_serves_an_error_page(checkout, mirror, server, monkeypatch, answer, said):
    mirror()
    address = server(answer)
    monkeypatch.setenv("MNIST_MIRROR", address)
    refused(
        checkout, lambda: run("download"), f"no mirror serves MNIST: {address}: ", said, "Set MNIST_MIRROR"
    )


@pytest.mark.parametrize(
    "address",
    ["http://", "http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "s3://bucket",
     "~nobody-here/x", "http://a b/", "http://" + "a" * 70 + ".invalid/", "no/such/folder", "x" * 500],
)  # fmt: skip
def test_a_mirror_whose_address_is_malformed(checkout, mirror, monkeypatch, address):
    mirror()
    monkeypatch.setenv("MNIST_MIRROR", address)
    refused(checkout, lambda: run("download"), f"no mirror serves MNIST: {' '.join(address.split())[:50]}")


# A full disk, and folders that may not be written or read


class Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_with(number):
    def fail(*args, **options):
        raise OSError(number, os.strerror(number), options.get("dir"))

    return fail


WRITES = [
    ("download", MNIST),
    ("train_classifier", f"{JUDGE}/{WEIGHTS}"),
    ("train_cvae", f"{CVAE}/{WEIGHTS}"),
    ("train_cgan", f"{CGAN}/{WEIGHTS}"),
    ("sample", "samples/cvae.npz"),
]


@pytest.mark.parametrize(("stage", "name"), WRITES)
def test_no_space_is_left(checkout, mirror, monkeypatch, stage, name):
    mirror()
    fdopen = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: Full(fdopen(handle, mode)))
    refused(
        checkout, lambda: run(stage), f"data/{name} cannot be written: No space left on device: free disk"
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
@pytest.mark.parametrize(("stage", "name"), [WRITES[0], WRITES[4]])
def test_a_folder_that_is_read_only(checkout, mirror, monkeypatch, stage, name, number):
    mirror()
    monkeypatch.setattr(tempfile, "mkstemp", fail_with(number))
    refused(
        checkout, lambda: run(stage), f"data/{name} cannot be written: {os.strerror(number)}", "allow writing"
    )


def test_a_folder_that_is_a_file(checkout):
    shutil.rmtree("data/samples")
    Path("data/samples").write_text("I was here first")
    refused(
        checkout, lambda: run("sample"), "data/samples/cvae.npz cannot be written: File exists (data/samples)"
    )


@pytest.mark.parametrize("name", [MNIST, f"{JUDGE}/{WEIGHTS}", NUMBERS, "plots/cvae.csv"])
def test_a_file_that_may_not_be_read(checkout, monkeypatch, name):
    # Simulated, because root may read every file.
    opened = open

    def refuse(path, *args, **options):
        if str(path) == f"data/{name}":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr("io.open", refuse)  # pathlib's
    monkeypatch.setattr(files, "open", refuse, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr("condgen.base.pipeline.data_hashes", lambda paths: {})
        refused(checkout, lambda: run("evaluate"), f"data/{name} cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("number", "name", "said"),
    [
        (errno.ENOSPC, None, "condgen: a file could not be written: No space left on device"),
        (errno.EROFS, "outbox", "condgen: outbox: Read-only file system"),
    ],
)
def test_an_os_error_anywhere_else_is_one_line(checkout, number, name, said):
    def main():
        raise OSError(number, os.strerror(number), name)

    assert refused(checkout, lambda: preflight.run(main)) == said


def test_a_bug_keeps_its_traceback(checkout):
    def main():
        Path("no such file").read_bytes()

    with pytest.raises(FileNotFoundError):
        preflight.run(main)


# Git, and MLflow's address


def test_without_git_a_stage_runs_and_says_so(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    run("sample")
    (journal,) = Path("outbox").glob("2*")
    start = json.loads((journal / "events.jsonl").read_text().splitlines()[0])
    assert start["tags"]["git.commit"] == "none"
    assert start["tags"]["changed"] == "unknown"


@pytest.mark.parametrize(
    "address",
    ["nonsense://x", "http://[::1", "http://127.0.0.1:99999", "http://a b", "mysql://x", "sqlite:///text.db",
     "sqlite:////nowhere/x.db", "sqlite:///", "text.db", "file:///nowhere"],
)  # fmt: skip
@pytest.mark.parametrize("words", [["compare"], ["trace", "data/dataset.npz"]], ids=["compare", "trace"])
def test_a_tracking_address_that_is_malformed(checkout, monkeypatch, address, words):
    Path("text.db").write_text("This is no data base." * 99)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    refused(checkout, lambda: command.main(words), address.removeprefix("sqlite:///").split("?")[0])


def test_a_malformed_tracking_address_does_not_stop_a_stage(checkout, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://[::1")
    run("sample")


# Commands


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (gone, "data/models/cgan/model.safetensors is missing"),
        (half, "data/models/cgan/model.safetensors is damaged"),
        (folder, "data/models/cgan/model.safetensors cannot be read: Is a directory"),
        (model_of("classifier"), "model is 'classifier', but must be cvae or cgan"),
    ],
)
def test_a_command_whose_model_is_damaged(checkout, damage, said):
    damage(checkout / f"data/{CGAN}/{WEIGHTS}")
    refused(checkout, lambda: command.main(["draw", "1", "--out", "data/one.png"]), said)
    refused(checkout, lambda: command.main(["export", "--per-class", "1", "--out", "data/set"]), said)


def test_ctrl_c_in_a_command_is_one_line(checkout, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "trace", interrupt)
    assert refused(checkout, lambda: command.main(["trace", "x"])) == "condgen: interrupted"


@pytest.mark.attack
@pytest.mark.parametrize("form", ["folder", "pipe"])
def test_an_output_that_is_no_file_is_not_replaced(checkout, form):
    for words in (["draw", "1", "--out"], ["compare", "--png"], ["ladder", "--png"], ["compare", "--csv"],
                  ["ladder", "--csv"], ["augment", "--csv"]):  # fmt: skip
        place = checkout / f"{'-'.join(words).replace('--', '')}.png"
        place.mkdir() if form == "folder" else os.mkfifo(place)
        before = place.lstat()
        refused(
            checkout,
            lambda w=words, p=place: command.main([*w, str(p)]),
            "must be a file, but is a folder, a",
        )
        assert place.lstat() == before


@pytest.mark.attack
def test_an_output_that_is_a_link_is_written_to_its_target(checkout):
    (checkout / "shelf").mkdir()
    link = checkout / "link.png"
    link.symlink_to("shelf/real.png")
    for _ in range(2):  # the target is missing, then there
        command.main(["draw", "1", "--out", str(link)])
        assert link.is_symlink()
        assert (checkout / "shelf/real.png").read_bytes().startswith(b"\x89PNG")
        (checkout / "shelf/real.png").write_text("old")


@pytest.mark.parametrize("words", [["draw", "1", "--out"], ["compare", "--png"], ["ladder", "--png"]])
def test_a_picture_is_called_png(checkout, words):
    refused(checkout, lambda: command.main([*words, "x.jpg"]), "x.jpg must end in .png")
    assert not Path("x.jpg").exists()


@pytest.mark.attack
@pytest.mark.parametrize("model", ["ftp://me:secret@127.0.0.1:9/x", "http://127.0.0.1:9/x", "s3://bucket/x"])
def test_a_model_at_an_address_of_another_kind_is_refused_at_once(checkout, monkeypatch, model):
    monkeypatch.setattr("condgen.tracking.registry.fetch", never)
    words = ["draw", "1", "--model", model, "--out", "1.png"]
    assert "secret" not in refused(checkout, lambda: command.main(words), "but must be cvae or cgan")


def test_a_model_that_cannot_be_fetched_leaves_no_data_base(checkout):
    words = ["draw", "1", "--model", "models:/condgen-cgan@champion", "--out", "1.png"]
    refused(checkout, lambda: command.main(words), "mlflow.db does not exist: 'dvc repro' makes it")
    assert not Path("mlflow.db").exists()


# As a user runs it: a process, its exit status and its stderr


def start(folder, *words, **options):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "MNIST_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env | {"CONDGEN_DEVICE": "cpu"} | options.pop("env", {}),
        capture_output=True,
        text=True,
        timeout=400,
        **options,
    )


@pytest.fixture
def copied(checkout):
    """The checkout with a copy of the code, to run as a user does."""
    (checkout / "src/condgen").rmdir()
    for name in ("src", "stages"):
        shutil.copytree(
            ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.pyc"), dirs_exist_ok=True
        )
    # Without a folder for journals no courier starts; its import of MLflow would take seconds.
    (checkout / "outbox").touch()
    return checkout


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))


@pytest.mark.parametrize(
    ("name", "damage", "words", "options", "said"),
    [
        pytest.param(
            f"{CGAN}/{WEIGHTS}", half, ["-m", "stages.sample"],
            {"env": {"PATH": "/nowhere", "MLFLOW_TRACKING_URI": "http://["}},
            f"condgen: data/{CGAN}/{WEIGHTS} is damaged", id="a truncated model, no git, a malformed address",
        ),
        pytest.param(
            MNIST, Path.exists, ["stages/sample.py"], {"preexec_fn": small_files},
            "condgen: data/samples/cvae.npz cannot be written: File too large: free disk", id="no space",
        ),
        pytest.param(
            f"{CGAN}/{CONFIG}", gone, ["-m", "condgen", "draw", "1", "--out", "data/1.png"], {},
            f"condgen: data/{CGAN}/{CONFIG} is missing", id="a command",
        ),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_user_sees_one_line_and_exit_status_1(copied, name, damage, words, options, said):
    damage(copied / "data" / name)
    before = snapshot(copied)
    env = {"PYTHONPATH": str(copied / "src")} if "condgen" in words else {}
    done = start(copied, *words, **{**options, "env": env | options.get("env", {})})
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("tracking: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(said)
    assert "Traceback" not in done.stderr
    assert snapshot(copied) == before
