"""The weights that come with the package are small, complete and draw digits that can be read."""

import fnmatch
import subprocess
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from condgen.base import files
from condgen.base.errors import UserError
from condgen.cli import main
from condgen.models import cgan, split_state
from condgen.sampling import drawing, generator
from condgen.sharing import origin, packaged
from specs import DIGITS

PRESENT = [name for name in packaged.NAMES if (packaged.FOLDER / name).is_dir()]


def test_both_models_of_the_article_are_there():
    assert {"cvae", "cgan"} <= set(PRESENT)
    assert {path.name for path in packaged.FOLDER.iterdir()} == set(PRESENT)


@pytest.mark.parametrize("name", PRESENT)
def test_they_are_small_and_say_how_they_were_trained(name):
    folder = packaged.find(name)
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "config.json", "origin.json"}
    assert (folder / "model.safetensors").stat().st_size < 1_000_000
    model = generator.load(folder)
    known = origin.find(folder, model)
    assert known.recipe == packaged.NAMES[name]
    assert known.params[f"{model.name}.latent_dim"] == model.latent_dim
    assert packaged.about(name) == f"{name} of the package: recipe {known.recipe}, seed 0"


@pytest.mark.parametrize("name", PRESENT)
def test_a_classifier_that_knows_only_real_digits_reads_what_they_draw(name, split):
    """By the nearest of 4,000 real digits in pixels, which reads 94 % of real ones; by chance 10 %."""
    model = generator.load(packaged.find(name))
    labels = DIGITS.every_class(30)
    drawn = DIGITS.to_float(model.images(labels, "a test", 0))
    known = split.train
    nearest = torch.cdist(drawn, known.x).argmin(dim=1)
    assert (known.y[nearest] == labels).float().mean() > 0.75
    assert drawn.view(10, 30, -1).std(dim=1).mean() > 0.01, "not the same digit thirty times"


def test_the_wheel_takes_them(root):
    """All files of the package that are no Python match a pattern of package-data."""
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    words = ["git", "ls-files", "-co", "--exclude-standard", "src/condgen"]
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    others = [name.removeprefix("src/condgen/") for name in listed if not name.endswith(".py")]
    assert {f"weights/{name}/model.safetensors" for name in PRESENT} <= set(others)
    assert [n for n in others if not any(fnmatch.fnmatch(n, p) for p in patterns["condgen"])] == []


def test_without_any_training_draw_uses_them_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["draw", "2026"])
    main(["draw", "2026", "--model", "both"])
    said = capsys.readouterr()
    assert said.out == "2026.png\n2026_2.png\n"
    line = "condgen: data/models/{0} does not exist: drawing with {0} of the package: recipe article, seed 0"
    assert said.err.splitlines() == [line.format(name) for name in ("cgan", "cvae", "cgan")]
    with Image.open("2026.png") as image:
        found = np.asarray(image)
    model = generator.load(packaged.find("cgan"))
    assert np.array_equal(found[::4, ::4], drawing.picture("2026", model))


def test_a_model_of_this_checkout_goes_first(checkout, capsys):
    main(["draw", "1", "--model", "cvae", "--out", "1.png"])
    assert capsys.readouterr() == ("1.png\n", "")


def test_weights_that_the_package_lacks_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    for name, how in {
        "cvae": "'make repro' trains it",
        "cgan-best": "'dvc exp apply best', and --model cgan",
    }.items():
        with pytest.raises(UserError, match=f"^the package has no weights of {name}, .*{how}"):
            packaged.find(name)


def test_what_is_too_large_is_rounded_and_then_refused(cgan_params, tmp_path, monkeypatch):
    files.write_model(tmp_path / "m", *split_state(cgan.build(cgan_params, DIGITS, 0).eval(), "cgan"))
    model, known = generator.load(tmp_path / "m"), origin.Origin({"seed": 0}, {}, "article")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    sizes = {}
    for most in (999_999, 400_000, 200_000):
        monkeypatch.setattr(packaged, "MOST_BYTES", most)
        try:
            sizes[most] = packaged.write("cgan", model, known)
        except UserError as error:
            sizes[most] = str(error)
    assert sizes[999_999].endswith("bytes, float32")
    assert sizes[400_000].endswith("bytes, float16")
    assert sizes[200_000].endswith("in float16, but must take at most 200,000")
    assert list((tmp_path / "cgan").iterdir()) == []
    monkeypatch.setattr(packaged, "MOST_BYTES", 400_000)
    monkeypatch.setattr(packaged, "_difference", lambda a, b: 2)
    with pytest.raises(
        UserError, match="cgan in float16 moves a pixel by 2 grey levels, but must by at most 1"
    ):
        packaged.write("cgan", model, known)
