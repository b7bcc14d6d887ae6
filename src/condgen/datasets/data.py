"""npz -> tensors: the train/validation/test split, one-hot labels, shuffled batches, and back to uint8."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from condgen.base import files
from condgen.base.errors import UserError
from condgen.base.sections import Section

CLASSES = 10
SIDE = 28
PIXELS = SIDE * SIDE
AGAIN = "remove it and run 'dvc repro'"


class SplitParams(Section):
    """Section `split` of params.yaml."""

    section: ClassVar[str] = "split"
    validation: int = Field(ge=1, le=10_000)


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes:
        x: `[n, 784]`, float32, in [0, 1].
        y: `[n]`, int64, in 0..9.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """The three parts of a data set, and a sentence that says which images it holds."""

    train: Images
    validation: Images
    test: Images
    source: str

    def for_tuning(self) -> "Split":
        """The split to choose parameters by: the validation images take the test images' place.

        The last training images, as many, become validation images, so that no image is in two parts.
        """
        cut = len(self.train) - min(len(self.validation), len(self.train) // 10)
        return Split(
            train=Images(self.train.x[:cut], self.train.y[:cut]),
            validation=Images(self.train.x[cut:], self.train.y[cut:]),
            test=self.validation,
            source=self.source,
        )


def load(path: str | Path, p: SplitParams, device: str | torch.device = "cpu") -> Split:
    """Reads data/dataset.npz and splits it as the article's loader does: the first images are for validation.

    Validation takes at most a tenth of the training images, so that the small bundled set keeps enough to
    train on. Raises UserError if the file is not such a data set.
    """
    x_train, y_train, x_test, y_test, source = files.read_npz(
        path, "x_train", "y_train", "x_test", "y_test", "source"
    )
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        _check_images(path, f"x_{part}", x, f"y_{part}", y)
    if source.dtype.kind != "U" or source.ndim:
        raise UserError(f"{path}: source is {source.dtype} {list(source.shape)}, but must be text; {AGAIN}")
    if len(y_train) < 10:
        raise UserError(f"{path} holds {len(y_train)} training images, but must hold 10 or more; {AGAIN}")
    cut = min(p.validation, len(y_train) // 10)
    return Split(
        train=_images(x_train[cut:], y_train[cut:], device),
        validation=_images(x_train[:cut], y_train[:cut], device),
        test=_images(x_test, y_test, device),
        source=str(source),
    )


def load_samples(path: str | Path, device: str | torch.device = "cpu") -> Images:
    """Reads a model's samples: images uint8 `[n, 28, 28]` and the labels `[n]` that were asked for.

    Raises UserError if the file holds something else, or has no image of some class.
    """
    images, labels = files.read_npz(path, "images", "labels")
    _check_images(path, "images", images, "labels", labels)
    absent = sorted(set(range(CLASSES)) - set(labels.tolist()))
    if absent:
        raise UserError(f"{path}: labels lacks {absent[0]}, but must hold every digit; {AGAIN}")
    return _images(images, labels, device)


def read_history(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(epochs `[e]`, images uint8 `[e, n, 28, 28]`, labels uint8 `[n]`): the same noise after each epoch.

    Raises UserError if the file holds something else.
    """
    epochs, images, labels = files.read_npz(path, "epochs", "images", "labels")
    if images.ndim != 4 or not len(images):
        raise UserError(
            f"{path}: images is {images.dtype} {list(images.shape)}, "
            f"but must be uint8 [epochs, n, {SIDE}, {SIDE}]; {AGAIN}"
        )
    _check_images(path, "images", images[0], "labels", labels)
    if not np.array_equal(labels, np.arange(CLASSES).repeat(len(labels) // CLASSES)):
        raise UserError(
            f"{path}: labels is {labels.tolist()[:CLASSES]}..., "
            f"but must hold equally many of each digit, in order; {AGAIN}"
        )
    # `latent.table` finds an epoch's picture by its number.
    if epochs.dtype != np.int64 or not np.array_equal(epochs, np.arange(1, len(images) + 1)):
        raise UserError(
            f"{path}: epochs is {epochs.dtype} {epochs.tolist()[:5]}..., "
            f"but must be int64, 1 to the number of pictures, {len(images)}; {AGAIN}"
        )
    return epochs, images, labels


def load_history(path: str | Path, device: str | torch.device = "cpu") -> Images:
    """`read_history` as tensors: x `[e, n, 784]`, float32, in [0, 1], and y, the labels `[n]`."""
    _, images, labels = read_history(path)
    x = to_float(images.reshape(-1, SIDE, SIDE)).view(*images.shape[:2], PIXELS)
    return Images(x.to(device), torch.from_numpy(labels.astype(np.int64)).to(device))


def _check_images(path: str | Path, x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> None:
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (SIDE, SIDE) or not len(x):
        raise UserError(
            f"{path}: {x_name} is {x.dtype} {list(x.shape)}, but must be uint8 [n, {SIDE}, {SIDE}]; {AGAIN}"
        )
    if y.dtype != np.uint8 or y.shape != (len(x),):
        raise UserError(
            f"{path}: {y_name} is {y.dtype} {list(y.shape)}, but must be uint8 [{len(x)}], "
            f"a label for each image; {AGAIN}"
        )
    if y.max() >= CLASSES:
        raise UserError(f"{path}: {y_name} holds {y.max()}, but must hold 0 to {CLASSES - 1}; {AGAIN}")


def _images(x: np.ndarray, y: np.ndarray, device: str | torch.device) -> Images:
    return Images(to_float(x).to(device), torch.from_numpy(y.astype(np.int64)).to(device))


def to_float(images: np.ndarray) -> Tensor:
    """uint8 `[n, 28, 28]` -> float32 `[n, 784]` in [0, 1]."""
    return torch.from_numpy(images.reshape(len(images), -1)).float().div_(255)


def to_uint8(x: Tensor) -> np.ndarray:
    """float `[n, 784]` in [0, 1] -> uint8 `[n, 28, 28]`, rounded to the nearest of 256 levels."""
    return (x * 255).round().clamp(0, 255).to("cpu", torch.uint8).reshape(-1, SIDE, SIDE).numpy()


def one_hot(labels: Tensor) -> Tensor:
    """Labels `[n]` in 0..9 -> float32 `[n, 10]`."""
    return F.one_hot(labels, CLASSES).float()


def every_class(per_class: int, device: str | torch.device = "cpu") -> Tensor:
    """Labels `[10 * per_class]`, int64: all of class 0, then all of class 1, ..."""
    return torch.arange(CLASSES, device=device).repeat_interleave(per_class)


def batches(x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of `x` and `y` in a fresh random order, `size` at a time (the last batch may be smaller).

    The data set stays in memory as it is; a batch is gathered when it is needed.
    """
    order = torch.randperm(len(x), generator=generator, device=generator.device)
    for rows in order.split(size):
        yield x[rows], y[rows]
