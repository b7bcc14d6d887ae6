"""npz -> tensors: the train/validation/test split, samples, histories, and shuffled batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from condgen.base import files
from condgen.base.errors import UserError
from condgen.base.sections import Section
from condgen.datasets.spec import Spec

LEAST_TEST = 6  # some measures look for an image's five nearest neighbours
AGAIN = "remove it and run 'dvc repro'"


class SplitParams(Section):
    """Section `split` of params.yaml."""

    section: ClassVar[str] = "split"
    validation: int = Field(ge=1, le=10_000)


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes:
        x: `[n, d]`, float32, in [0, 1], as `Spec` has it.
        y: `[n]`, int64, indices of classes.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """The three parts of a data set, what their images have in common, and a sentence that names them."""

    train: Images
    validation: Images
    test: Images
    spec: Spec
    source: str

    def for_tuning(self) -> "Split":
        """The split to choose parameters by: the validation images take the test images' place.

        The last training images, as many, become validation images, so that no image is in two parts; the
        generators have trained on these. Raises UserError if there are too few to measure by.
        """
        if len(self.validation) < LEAST_TEST:
            raise UserError(
                f"evaluate.reference is validation, but there are {len(self.validation)} validation images, "
                f"and must be {LEAST_TEST} or more: set it to test, or add training images"
            )
        cut = len(self.train) - min(len(self.validation), len(self.train) // 10)
        return Split(
            train=Images(self.train.x[:cut], self.train.y[:cut]),
            validation=Images(self.train.x[cut:], self.train.y[cut:]),
            test=self.validation,
            spec=self.spec,
            source=self.source,
        )


def load(path: str | Path, p: SplitParams, device: str | torch.device = "cpu") -> Split:
    """Reads data/dataset.npz and splits it as the article's loader does: the first images are for validation.

    Validation takes at most a tenth of the training images, so that the small bundled set keeps enough to
    train on. Raises UserError if the file is not such a data set.
    """
    x_train, y_train, x_test, y_test, classes, source = files.read_npz(
        path, "x_train", "y_train", "x_test", "y_test", "classes", "source"
    )
    spec = _spec(path, x_train, classes)
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        _check_images(path, spec, f"x_{part}", x, f"y_{part}", y)
    if source.dtype.kind != "U" or source.ndim:
        raise UserError(f"{path}: source is {source.dtype} {list(source.shape)}, but must be text; {AGAIN}")
    if len(y_train) < 10:
        raise UserError(f"{path} holds {len(y_train)} training images, but must hold 10 or more; {AGAIN}")
    if len(y_test) < LEAST_TEST:
        raise UserError(
            f"{path} holds {len(y_test)} test images, but must hold {LEAST_TEST} or more: add some, or raise "
            "data.test_share"
        )
    cut = min(p.validation, len(y_train) // 10)
    return Split(
        train=_images(spec, x_train[cut:], y_train[cut:], device),
        validation=_images(spec, x_train[:cut], y_train[:cut], device),
        test=_images(spec, x_test, y_test, device),
        spec=spec,
        source=str(source),
    )


def _spec(path: str | Path, images: np.ndarray, classes: np.ndarray) -> Spec:
    """The classes by name, and the shape from training images. Raises UserError if they are none."""
    names = classes.tolist() if classes.dtype.kind == "U" and classes.ndim == 1 else classes
    side = images.shape[1] if images.ndim > 1 else 0
    channels = images.shape[3] if images.ndim == 4 else 1
    try:
        return Spec(classes=names, side=side, channels=channels)
    except ValidationError as error:
        problem = error.errors()[0]
        key, value = ".".join(map(str, problem["loc"])), problem["input"]
        raise UserError(
            f"{path}: {key} is {str(value)[:100]} in images {images.dtype} {list(images.shape)}: "
            f"{problem['msg']}; {AGAIN}"
        ) from None


def load_samples(path: str | Path, spec: Spec, device: str | torch.device = "cpu") -> Images:
    """Reads a model's samples: images uint8, as `Spec` has them, and the labels `[n]` that were asked for.

    Raises UserError if the file holds something else, or has no image of some class.
    """
    images, labels = files.read_npz(path, "images", "labels")
    _check_images(path, spec, "images", images, "labels", labels)
    absent = sorted(set(range(spec.count)) - set(labels.tolist()))
    if absent:
        raise UserError(f"{path}: labels lacks {absent[0]}, but must hold every class; {AGAIN}")
    return _images(spec, images, labels, device)


def read_history(path: str | Path, spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(epochs `[e]`, images uint8 `[e, n, ...]`, labels uint8 `[n]`): the same noise after each epoch.

    Raises UserError if the file holds something else.
    """
    epochs, images, labels = files.read_npz(path, "epochs", "images", "labels")
    if images.ndim != 2 + len(spec.shape) or not len(images):
        raise UserError(
            f"{path}: images is {images.dtype} {list(images.shape)}, "
            f"but must be uint8 [epochs, n, {_text(spec)}]; {AGAIN}"
        )
    _check_images(path, spec, "images", images[0], "labels", labels)
    if not np.array_equal(labels, np.arange(spec.count).repeat(len(labels) // spec.count)):
        raise UserError(
            f"{path}: labels is {labels.tolist()[:10]}..., "
            f"but must hold equally many of each class, in order; {AGAIN}"
        )
    # `latent.table` finds an epoch's picture by its number.
    if epochs.dtype != np.int64 or not np.array_equal(epochs, np.arange(1, len(images) + 1)):
        raise UserError(
            f"{path}: epochs is {epochs.dtype} {epochs.tolist()[:5]}..., "
            f"but must be int64, 1 to the number of pictures, {len(images)}; {AGAIN}"
        )
    return epochs, images, labels


def load_history(path: str | Path, spec: Spec, device: str | torch.device = "cpu") -> Images:
    """`read_history` as tensors: x `[e, n, d]`, float32, in [0, 1], and y, the labels `[n]`."""
    _, images, labels = read_history(path, spec)
    x = spec.to_float(images.reshape(-1, *spec.shape)).view(*images.shape[:2], spec.pixels)
    return Images(x.to(device), torch.from_numpy(labels.astype(np.int64)).to(device))


def _text(spec: Spec) -> str:
    return ", ".join(map(str, spec.shape))


def _check_images(
    path: str | Path, spec: Spec, x_name: str, x: np.ndarray, y_name: str, y: np.ndarray
) -> None:
    if x.dtype != np.uint8 or x.shape[1:] != spec.shape or not len(x):
        raise UserError(
            f"{path}: {x_name} is {x.dtype} {list(x.shape)}, but must be uint8 [n, {_text(spec)}]; {AGAIN}"
        )
    if y.dtype != np.uint8 or y.shape != (len(x),):
        raise UserError(
            f"{path}: {y_name} is {y.dtype} {list(y.shape)}, but must be uint8 [{len(x)}], "
            f"a label for each image; {AGAIN}"
        )
    if y.max() >= spec.count:
        raise UserError(f"{path}: {y_name} holds {y.max()}, but must hold 0 to {spec.count - 1}; {AGAIN}")


def _images(spec: Spec, x: np.ndarray, y: np.ndarray, device: str | torch.device) -> Images:
    return Images(spec.to_float(x).to(device), torch.from_numpy(y.astype(np.int64)).to(device))


def batches(x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of `x` and `y` in a fresh random order, `size` at a time (the last batch may be smaller).

    The data set stays in memory as it is; a batch is gathered when it is needed.
    """
    order = torch.randperm(len(x), generator=generator, device=generator.device)
    for rows in order.split(size):
        yield x[rows], y[rows]
