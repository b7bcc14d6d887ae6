"""The split, the labels, the batches, and the conversion between bytes and floats."""

import numpy as np
import pytest
import torch

from condgen.base import files, params
from condgen.base.errors import UserError
from condgen.datasets import data
from specs import DIGITS


def save(path, n_train=100, n_test=20, **changed):
    """A made-up data set whose image i has pixel value i % 256 everywhere."""
    arrays = {
        "x_train": np.repeat(np.arange(n_train) % 256, 784).astype(np.uint8).reshape(-1, 28, 28),
        "y_train": (np.arange(n_train) % 10).astype(np.uint8),
        "x_test": np.zeros((n_test, 28, 28), np.uint8),
        "y_test": (np.arange(n_test) % 10).astype(np.uint8),
        "classes": np.array(list("0123456789")),
        "source": np.array("made up"),
    } | changed
    files.write_npz(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_the_first_training_images_are_the_validation_set(tmp_path):
    split = data.load(save(tmp_path / "x.npz"), data.SplitParams(validation=7))
    assert (len(split.validation), len(split.train), len(split.test)) == (7, 93, 20)
    assert torch.allclose(split.validation.x[:, 0] * 255, torch.arange(7.0))
    assert torch.allclose(split.train.x[:3, 0] * 255, torch.arange(7.0, 10.0))
    assert split.validation.y.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert split.train.y[:5].tolist() == [7, 8, 9, 0, 1], "each image keeps its label"
    assert split.source == "made up"


def test_validation_takes_at_most_a_tenth(tmp_path):
    split = data.load(save(tmp_path / "x.npz"), data.SplitParams(validation=5000))
    assert (len(split.validation), len(split.train)) == (10, 90)


def test_the_articles_split_of_the_full_set(tmp_path, root):
    p = params.read(data.SplitParams, root / "params.yaml")
    split = data.load(save(tmp_path / "x.npz", 60_000, 10_000), p)
    assert (len(split.train), len(split.validation), len(split.test)) == (55_000, 5_000, 10_000)


@pytest.mark.parametrize(
    "changed",
    [
        {"x_train": np.zeros((100, 28, 28), np.float32)},
        {"x_train": np.zeros((100, 28, 27), np.uint8)},
        {"x_train": np.zeros((99, 28, 28), np.uint8)},
        {"y_test": np.full(20, 10, np.uint8)},
        {"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)},
        {"source": None},
    ],
)
def test_arrays_of_a_wrong_type_shape_or_value_are_refused(tmp_path, changed):
    with pytest.raises(UserError, match=r"x\.npz"):
        data.load(save(tmp_path / "x.npz", **changed), data.SplitParams(validation=5))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", None])
def test_a_damaged_or_missing_file_is_reported(tmp_path, content):
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged|missing"):
        data.load(path, data.SplitParams(validation=5))


def test_a_planted_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "x.npz"
    save(path, source=None)
    np.savez(path, **dict(np.load(path)), source=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        data.load(path, data.SplitParams(validation=5))


def test_every_byte_round_trips_through_float():
    images = np.arange(256, dtype=np.uint8).repeat(784).reshape(-1, 28, 28)
    x = DIGITS.to_float(images)
    assert (float(x.min()), float(x.max())) == (0, 1)
    assert np.array_equal(DIGITS.to_uint8(x), images)


def test_a_drawn_value_is_rounded_to_the_nearest_byte():
    x = torch.tensor([[0.0, 0.4, 0.6, 1.4, 254.6, 254.4] + [0.0] * 778]) / 255
    assert DIGITS.to_uint8(x).ravel()[:6].tolist() == [0, 0, 1, 1, 255, 254]


def test_one_hot_marks_the_label_and_nothing_else():
    y = DIGITS.one_hot(torch.tensor([3, 0, 9]))
    assert y.shape == (3, 10)
    assert torch.equal(y.argmax(dim=1), torch.tensor([3, 0, 9]))
    assert torch.equal(y.sum(dim=1), torch.ones(3))


def test_an_epoch_of_batches_has_each_image_once_with_its_label(gen):
    x, y = torch.arange(23.0).unsqueeze(1), torch.arange(23)
    batches = list(data.batches(x, y, 5, gen))
    assert [len(b) for b, _ in batches] == [5, 5, 5, 5, 3]
    seen = torch.cat([b for b, _ in batches]).squeeze(1)
    assert not torch.equal(seen, x.squeeze(1))
    assert torch.equal(seen.sort().values, x.squeeze(1))
    assert torch.equal(seen.long(), torch.cat([label for _, label in batches]))
