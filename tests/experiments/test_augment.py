"""Rare classes are filled up with drawn images, which are told from real ones, and their use is measured."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from condgen.base import files
from condgen.base.errors import UserError
from condgen.cli import main
from condgen.datasets import data, sets
from condgen.datasets.download import DataParams
from condgen.datasets.spec import Spec
from condgen.experiments import augment
from condgen.models.classifier import ClassifierParams
from condgen.sampling import generator

SPEC = Spec(classes=("bar", "dot", "rare one"), side=16, channels=1)
PATTERNS = (torch.rand(3, 256, generator=torch.Generator().manual_seed(0)) > 0.7).float() * 0.8
P = ClassifierParams(
    seed=0, epochs=12, batch_size=10, lr=0.003, channels=8, features=16, dropout=0.0, shift=0
)


def images(counts, seed):
    """Each class has its pattern, half hidden by noise."""
    y = torch.arange(3).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    noise = torch.rand(len(y), 256, generator=torch.Generator().manual_seed(seed))
    return data.Images((PATTERNS[y] * (noise > 0.5) + 0.2 * noise).clamp(0, 1), y)


@pytest.fixture
def split():
    return data.Split(images([60, 40, 2], 1), images([3, 2, 1], 2), images([30, 30, 30], 3), SPEC, "made up")


@pytest.fixture
def model(monkeypatch):
    """A generator that draws each class's pattern as it is."""
    network = SimpleNamespace(config={"latent_dim": 2, "conditional": True}, spec=SPEC)
    module = SimpleNamespace(draw=lambda network, z, y: PATTERNS[y] * (torch.rand(len(y), 256) > 0.5))
    monkeypatch.setitem(generator.MODELS, "echo", SimpleNamespace(module=module))
    return generator.Generator("echo", network, "md5", torch.device("cpu"))


def test_each_class_lacks_what_it_has_less_than_the_largest():
    labels = torch.tensor([0, 0, 0, 1, 3, 3])
    assert augment.lacking(labels, 4).tolist() == [1, 1, 2, 2, 2, 3]
    assert augment.lacking(torch.tensor([0, 1, 1, 0]), 2).tolist() == []


def test_the_exported_folder_has_equal_classes_real_ones_first_and_is_read_again(model, split, tmp_path):
    real, drawn = augment.export(tmp_path / "sets/more", model, split)
    assert (real, drawn) == (108, 3 * 63 - 108)
    for name, count in zip(SPEC.classes, (63, 42, 3), strict=True):
        found = sorted(path.name for path in (tmp_path / "sets/more/train" / name).iterdir())
        assert len(found) == 63
        assert sum(path.startswith("real-") for path in found) == count
        assert sum(path.startswith("drawn-") for path in found) == 63 - count
        assert not [p for p in (tmp_path / "sets/more/test" / name).iterdir() if "drawn" in p.name]
    first = tmp_path / "sets/more/train/rare one/real-00000.png"
    expected = SPEC.to_uint8(split.validation.x[split.validation.y == 2])[0]
    assert np.array_equal(np.asarray(Image.open(first)), expected)
    assert files.read_json(tmp_path / "sets/more/dataset.json")["drawn_train_images"] == drawn

    p = DataParams(dataset="more", source="auto", timeout=1, side=16, channels=1, test_share=0.2)
    arrays = sets.get(p, tmp_path, sets=tmp_path / "sets")
    assert arrays["classes"].tolist() == list(SPEC.classes)
    assert np.bincount(arrays["y_train"]).tolist() == [63, 63, 63]
    assert np.bincount(arrays["y_test"]).tolist() == [30, 30, 30]


def test_repeated_images_are_real_ones_of_their_class(split):
    more = augment.repeat(split.train, seed=0)
    assert torch.bincount(more.y, minlength=3).tolist() == [0, 20, 58]
    for x, label in zip(more.x, more.y, strict=True):
        assert (split.train.x[split.train.y == label] == x).all(dim=1).any()


def test_a_class_that_lacks_test_images_is_not_the_rarest_and_equal_classes_need_nothing(model, split):
    known = replace(split, test=data.Images(split.test.x[split.test.y < 2], split.test.y[split.test.y < 2]))
    assert augment.rarest(split) == 2
    assert augment.rarest(known) == 1
    with pytest.raises(UserError, match="every class has 1 images: there is none to fill up"):
        augment.fill_up(model, split, torch.arange(3), seed=0)


def test_a_model_of_other_classes_is_refused(model, split, tmp_path):
    model.network.spec = Spec(classes=("a", "b"), side=16, channels=1)
    with pytest.raises(
        UserError, match=r"draws 2 classes \(a, b, \.\.\.\), 16 x 16, grey, but data/dataset.npz"
    ):
        augment.export(tmp_path / "more", model, split)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_images_of_a_rare_class_help_a_classifier_that_hardly_saw_it(model, split):
    rows = augment.compare(P, model, split, seeds=(0, 1, 2))
    assert [row["seed"] for row in rows] == [0, 1, 2]
    real, repeated, drawn = (np.mean([row[f"{k}_rarest"] for row in rows]) for k in augment.KINDS)
    assert real + 0.3 < drawn
    assert repeated + 0.1 < drawn, "two images taken again show less of the class"
    assert all(row["drawn_balanced"] == pytest.approx(row["drawn_accuracy"]) for row in rows), "equal classes"
    shown = augment.text(rows, split)
    assert "accuracy of 'rare one', which has 2 training images" in shown
    change = 100 * np.array([row["drawn_rarest"] - row["repeated_rarest"] for row in rows])
    half = 4.30265273 * change.std(ddof=1) / 3**0.5  # Student's t of 2 degrees of freedom
    assert f"[{change.mean() - half:+.2f}, {change.mean() + half:+.2f}]" in shown
    assert augment.compare(P, model, split, seeds=(1,))[0]["real_accuracy"] == rows[1]["real_accuracy"]


@pytest.mark.parametrize(
    "words", [["export", "--out", "x"], ["export", "--balance", "--per-class", "3", "--out", "x"]]
)
def test_export_wants_a_number_or_a_balance(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "--balance" in capsys.readouterr().err
