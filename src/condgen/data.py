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

from condgen import files
from condgen.errors import UserError
from condgen.params import Section

CLASSES = 10
SIDE = 28
PIXELS = SIDE * SIDE


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
    """The three parts of a data set, and the sentence that says which images it holds."""

    train: Images
    validation: Images
    test: Images
    source: str


def load(path: str | Path, p: SplitParams, device: str | torch.device = "cpu") -> Split:
    """Reads data/mnist.npz and splits it as the article's loader does: the first images validate.

    A tenth of the training images is the most that validation takes, so that the small bundled set
    keeps enough to train on. Raises UserError where the file is not such a data set.
    """
    x_train, y_train, x_test, y_test, source = files.read_npz(
        path, "x_train", "y_train", "x_test", "y_test", "source"
    )
    for x, y in ((x_train, y_train), (x_test, y_test)):
        if x.dtype != np.uint8 or x.shape != (len(y), SIDE, SIDE) or y.ndim != 1:
            raise UserError(
                f"{path} holds images {x.dtype} {list(x.shape)} and labels {list(y.shape)}: "
                f"allowed are uint8 [n, {SIDE}, {SIDE}] and [n]; remove it and run 'dvc repro'"
            )
        if len(y) == 0 or y.max() >= CLASSES:
            raise UserError(f"{path} holds no images, or labels above 9: remove it and run 'dvc repro'")
    cut = min(p.validation, len(y_train) // 10)
    return Split(
        train=_images(x_train[cut:], y_train[cut:], device),
        validation=_images(x_train[:cut], y_train[:cut], device),
        test=_images(x_test, y_test, device),
        source=str(source),
    )


def load_samples(path: str | Path, device: str | torch.device = "cpu") -> Images:
    """Reads samples of a model, images uint8 `[n, 28, 28]` and the labels `[n]` that were asked for."""
    images, labels = files.read_npz(path, "images", "labels")
    if images.shape != (len(labels), SIDE, SIDE) or images.dtype != np.uint8:
        raise UserError(f"{path} holds images {images.dtype} {list(images.shape)}: 'dvc repro -f sample'")
    return _images(images, labels, device)


def load_history(path: str | Path, device: str | torch.device = "cpu") -> Tensor:
    """Reads the pictures of the fixed noise after each epoch: `[e, 100, 784]`, float32, in [0, 1]."""
    (images,) = files.read_npz(path, "images")
    if images.ndim != 4 or images.shape[2:] != (SIDE, SIDE) or images.dtype != np.uint8:
        raise UserError(
            f"{path} holds pictures {images.dtype} {list(images.shape)}: remove it and run 'dvc repro'"
        )
    flat = to_float(images.reshape(-1, SIDE, SIDE)).view(*images.shape[:2], PIXELS)
    return flat.to(device)


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


def batches(
    x: Tensor, y: Tensor, size: int, generator: torch.Generator, drop_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of `x` and `y` in a fresh random order, `size` at a time; each row at most once.

    The data set stays in memory as it is; a batch is gathered when it is asked for.
    """
    order = torch.randperm(len(x), generator=generator, device=generator.device)
    for rows in order.split(size):
        if drop_last and len(rows) < size:
            return
        yield x[rows], y[rows]
