"""A folder of pictures goes through the pipeline, and its content decides whether anything runs again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from clone import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
COUNTS = {"square": 60, "open circle": 60, "cross": 3}


def shape(name, rng):
    """A bright shape of any colour on a dark ground of any colour, 20 x 24 pixels."""
    picture = Image.new("RGB", (20, 24), tuple(rng.integers(0, 90, 3).tolist()))
    ink, pen = tuple(rng.integers(150, 256, 3).tolist()), ImageDraw.Draw(picture)
    a, b, c, d = (*rng.integers(2, 6, 2).tolist(), *rng.integers(14, 18, 2).tolist())
    if name == "square":
        pen.rectangle((a, b, c, d), fill=ink)
    elif name == "open circle":
        pen.ellipse((a, b, c, d), outline=ink, width=2)
    else:
        pen.line((a, b, c, d), fill=ink, width=2)
        pen.line((c, b, a, d), fill=ink, width=2)
    return picture


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory):
    options = {"dataset": "shapes", "source": "auto", "side": 18, "data__channels": 3, "threads": 1}
    clone = Clone(root, tmp_path_factory.mktemp("images") / "condgen", **options)
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        folder = clone.path / "data/sets/shapes" / name
        folder.mkdir(parents=True)
        for i in range(count):
            shape(name, rng).save(folder / f"{i}.png")
    clone.run("dvc", "add", "data/sets/shapes")
    clone.commit("pictures")
    return clone


def test_the_report_the_drawings_and_the_registered_model_speak_of_the_classes(clone):
    clone.run("dvc", "repro")
    found = clone.json("evaluate")
    assert found["classes"] == sorted(COUNTS)
    assert clone.json("download")["rarest_class_images"] == 2
    counts = {found[name]["images"] for name in ("cvae", "cgan", "real")}
    assert len(counts) == 1, "all sets have the same numbers"
    assert clone.npz("samples/cgan")["images"].shape == (60, 18, 18, 3)
    page = (clone.path / "data/report.html").read_text()
    assert "Told which class to draw" in page
    clone.run("condgen", "draw", "cross, square", "--out", "drawn.png", "--scale", "1")
    with Image.open(clone.path / "drawn.png") as picture:
        assert (picture.size, picture.mode) == ((36, 18), "RGB")
    said = clone.run("condgen", "draw", "7", "--out", "x.png", check=False)
    assert said.count("\n") == 1
    assert (
        "names '7', but must be names of classes with commas between them: cross, open circle, square" in said
    )
    (model,) = clone.client.search_logged_models(
        [clone.client.get_experiment_by_name("condgen").experiment_id], "name = 'cgan'"
    )
    about = yaml.safe_load(Path(model.artifact_location.removeprefix("file://"), "MLmodel").read_text())
    assert about["metadata"]["classes"] == sorted(COUNTS)
    (output,) = json.loads(about["signature"]["outputs"])
    assert output["tensor-spec"]["shape"] == [-1, 18, 18, 3]


def test_unchanged_pictures_run_nothing_and_a_changed_one_runs_the_pipeline(clone):
    assert "Running stage" not in clone.run("dvc", "repro")
    shape("cross", np.random.default_rng(1)).save(clone.path / "data/sets/shapes/cross/new.png")
    assert "Running stage 'train_cvae'" in clone.run("dvc", "repro")
    assert clone.json("download")["rarest_class_images"] == 3


def test_a_balanced_set_is_exported_and_its_use_is_measured(clone):
    said = clone.run("condgen", "export", "--balance", "--model", "cvae", "--out", "balanced")
    assert re.search(r"balanced: \d+ real and \d+ drawn training images", said)
    counts = {name: len(list((clone.path / "balanced/train" / name).iterdir())) for name in COUNTS}
    assert set(counts.values()) == {48}, "80 % of 60"
    table = clone.run("condgen", "augment", "--model", "cvae", "--seeds", "2")
    assert "accuracy of 'cross'" in table
    assert "means over 2 seeds" in table


def test_a_damaged_picture_stops_the_run_before_anything_is_written(clone):
    (clone.path / "data/sets/shapes/cross/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    said = clone.run("dvc", "repro", check=False)
    assert "cross/broken.png" in said
    assert "Running stage 'train_cvae'" not in said
    assert "Running stage 'train_classifier'" not in said
