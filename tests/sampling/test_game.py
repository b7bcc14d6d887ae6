"""The game shows real test images and samples of the models, whose labels give nothing away."""

import numpy as np
import pytest
import torch

from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.models import MODELS
from condgen.sampling import game
from generators import generator
from specs import DIGITS, SHAPES


@pytest.fixture(scope="module")
def cgan(cgan_params):
    return generator("cgan", cgan_params)


@pytest.fixture(scope="module")
def samples():
    """Each model's pictures have a grey level of their own."""
    labels = np.arange(10, dtype=np.uint8).repeat(20)
    return {
        name: {"images": np.full((200, 28, 28), 50 + i, np.uint8), "labels": labels}
        for i, name in enumerate(MODELS)
    }


def test_as_many_of_each_origin_with_the_same_labels(split, samples, cgan):
    found = game.pictures(samples, split, cgan, seed=0)
    assert found["images"].shape == (3 * game.EACH, 28, 28)
    labels = [found["labels"][found["origins"] == origin].tolist() for origin in ("real", *MODELS)]
    assert labels[0] == labels[1] == labels[2]
    assert set(np.bincount(labels[0])) == {6}, "as many of each class"
    for i, name in enumerate(MODELS):
        assert (found["images"][found["origins"] == name] == 50 + i).all()
    test = {row.tobytes(): int(y) for row, y in zip(DIGITS.to_uint8(split.test.x), split.test.y, strict=True)}
    real = found["origins"] == "real"
    shown = [image.tobytes() for image in found["images"][real]]
    assert [test[image] for image in shown] == labels[0], "test images, with their own labels"
    assert len(set(shown)) == game.EACH, "none twice"


def test_the_pictures_depend_on_the_seed_alone(split, samples, cgan):
    a, again, other = (game.pictures(samples, split, cgan, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a[key], again[key]) for key in a)
    assert not np.array_equal(a["images"], other["images"])


def test_fewer_where_there_are_fewer(split, samples, cgan):
    def with_test(rows):
        part = data.Images(split.test.x[rows], split.test.y[rows])
        return data.Split(split.train, split.validation, part, split.spec, split.source)

    of_three = (split.test.y == 3).nonzero()[:4, 0]
    found = game.pictures(samples, with_test(of_three), cgan, seed=0)
    assert found["labels"].tolist() == [3] * 12


def test_the_threshold_is_where_both_errors_are_equal(gen):
    real, fake = torch.randn(2, 999, generator=gen).numpy() + np.array([[7.0], [5.0]])
    at = game.equal_error(real, fake)
    assert at == pytest.approx(6, abs=0.1), "halfway between two Gaussians of the same width"
    assert (real <= at).mean() == pytest.approx((fake > at).mean(), abs=0.002)
    assert game.equal_error(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 2, "nothing is wrong"


def test_scores_are_the_discriminators_of_the_pictures_that_are_shown(split, samples, cgan):
    found = game.pictures(samples, split, cgan, seed=0)
    x, labels = DIGITS.to_float(found["images"]), torch.from_numpy(found["labels"].astype(np.int64))
    logits = cgan.network.discriminate(2 * x - 1, DIGITS.one_hot(labels)).detach().numpy()
    shift = logits - found["scores"]
    assert np.ptp(shift) < 1e-4, "all are moved by the same threshold"
    wrong = torch.from_numpy((found["labels"] + 1) % 10).long()
    other = cgan.network.discriminate(2 * x - 1, DIGITS.one_hot(wrong)).detach().numpy()
    assert np.abs(other - logits).max() > 1e-3, "D sees the label"


def test_another_data_set_is_refused(npz):
    p = data.SplitParams(validation=5000)
    assert len(game.read(npz, p, DIGITS).test)
    with pytest.raises(UserError, match="holds other classes or sizes than the models were trained on"):
        game.read(npz, p, SHAPES)
