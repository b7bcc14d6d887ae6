"""The classifier's opinion of the game's pictures is that of its probabilities."""

import numpy as np
import pytest
import torch

from condgen.base import files
from condgen.evaluation import game
from condgen.models import classifier
from specs import DIGITS


def test_the_classifier_names_its_most_probable_class(tmp_path, classifier_params, gen):
    judge = classifier.build(classifier_params, DIGITS, 0).eval()
    images = torch.randint(256, (30, 28, 28), generator=gen, dtype=torch.uint8).numpy()
    files.write_npz(
        tmp_path / "game.npz",
        images=images,
        labels=np.zeros(30, np.uint8),
        origins=np.full(30, "real", "U16"),
        scores=np.zeros(30, np.float32),
    )
    found = game.load(tmp_path / "game.npz", DIGITS)
    assert np.array_equal(found.images, images)
    read, sure = game.opinions(judge, found, DIGITS)
    _, logits = classifier.classify(judge, DIGITS.to_float(images))
    for row, label, p in zip(logits.double(), read, sure, strict=True):
        assert row.argmax() == label
        assert p == pytest.approx(float(row[label].exp() / row.exp().sum()), abs=1e-6)


def test_the_md5_names_the_pictures(tmp_path):
    def written(grey):
        files.write_npz(
            tmp_path / "game.npz",
            images=np.full((1, 28, 28), grey, np.uint8),
            labels=np.zeros(1, np.uint8),
            origins=np.array(["cgan"], "U16"),
            scores=np.ones(1, np.float32),
        )
        return game.load(tmp_path / "game.npz", DIGITS).md5

    assert written(1) == written(1) != written(2)
