"""What all images of a data set have in common: their classes and their shape.

Networks, metrics and pictures take it from here, so none of them knows that MNIST has ten digits of 28 x 28
grey pixels. As tensors, images are float32 `[n, d]` in [0, 1], each a row of d = channels * side * side
numbers, channel after channel. In files they are uint8: `[n, side, side]`, or `[n, side, side, 3]` in colour.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

Name = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+$", max_length=100)]  # it names folders, too


class Spec(BaseModel):
    """A data set's classes and the shape of its images.

    Attributes:
        classes: their names; a label is an index into them.
        side: pixels along each side of an image.
        channels: 1 for grey, 3 for colour.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    classes: tuple[Name, ...] = Field(min_length=2, max_length=256)
    side: int = Field(ge=8, le=64)
    channels: Literal[1, 3]

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def pixels(self) -> int:
        """Numbers in an image: d."""
        return self.channels * self.side**2

    @property
    def shape(self) -> tuple[int, ...]:
        """An image's shape in files."""
        return (self.side, self.side) if self.channels == 1 else (self.side, self.side, self.channels)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Labels `[n]` -> float32 `[n, classes]`."""
        return F.one_hot(labels, self.count).float()

    def every_class(self, per_class: int, device: str | torch.device = "cpu") -> Tensor:
        """Labels `[classes * per_class]`, int64: all of class 0, then all of class 1, ..."""
        return torch.arange(self.count, device=device).repeat_interleave(per_class)

    def maps(self, x: Tensor) -> Tensor:
        """Images `[n, d]` -> `[n, channels, side, side]`, for convolutions."""
        return x.view(-1, self.channels, self.side, self.side)

    def to_float(self, images: np.ndarray) -> Tensor:
        """uint8 as in files -> float32 `[n, d]` in [0, 1]."""
        if self.channels > 1:
            images = np.ascontiguousarray(np.moveaxis(images, -1, 1))
        return torch.from_numpy(images.reshape(len(images), -1)).float().div_(255)

    def to_uint8(self, x: Tensor) -> np.ndarray:
        """float `[n, d]` in [0, 1] -> uint8 as in files, rounded to the nearest of 256 levels."""
        maps = self.maps((x * 255).round().clamp(0, 255).to("cpu", torch.uint8)).numpy()
        return maps[:, 0] if self.channels == 1 else np.ascontiguousarray(np.moveaxis(maps, 1, -1))


class Words:
    """What texts call the classes: digits if they are, classes if not."""

    def __init__(self, classes: Sequence[str]):
        digits = all(name in set("0123456789") for name in classes)
        self.one, self.many = ("digit", "digits") if digits else ("class", "classes")
        self.images = "digits" if digits else "images"
