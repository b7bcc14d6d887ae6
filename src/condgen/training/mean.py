"""Means of losses over an epoch, with a check for NaN and infinity."""

from bisect import bisect_right

import torch
from torch import Tensor

from condgen.training.state import Numbers


class Diverged(ArithmeticError):
    """A loss that is NaN or infinite. `step` counts from 1 within the epoch; None: at the epoch's end."""

    def __init__(self, name: str, value: float, step: int | None = None):
        super().__init__(name, value, step)
        self.name, self.value, self.step = name, value, step


class Mean:
    """Means over an epoch's images. `add` does not wait for the device, which is read once an epoch.

    images: the most that will be added.
    """

    def __init__(self, images: int):
        self.images, self.ends = images, [0]

    def add(self, values: dict[str, Tensor]) -> None:
        """Adds a batch: name -> one value per image, `[b]`, detached; the same names each time."""
        batch = torch.stack(tuple(values.values()))
        if len(self.ends) == 1:
            # Allocated at once: small tensors that stay between a step's large ones that are freed would
            # fragment the heap, by up to 300 MB.
            self.names, self.values = list(values), batch.new_empty(len(values), self.images)
        self.ends.append(self.ends[-1] + batch.shape[1])
        self.values[:, self.ends[-2] : self.ends[-1]] = batch

    def compute(self, prefix: str = "") -> Numbers:
        """Means over all images added, as floats. Raises Diverged, with the step, if one is not finite."""
        # float64 on the CPU: a float32 sum over an epoch would be rounded, and MPS has no float64.
        values = dict(zip(self.names, self.values[:, : self.ends[-1]].cpu().double(), strict=True))
        for name, value in values.items():
            bad = value.isfinite().logical_not().nonzero()
            if len(bad):
                first, steps = int(bad[0]), len(self.ends) - 1
                step = bisect_right(self.ends, first) if steps > 1 else None
                raise Diverged(prefix + name, float(value[first]), step)
        return {prefix + name: float(value.mean()) for name, value in values.items()}
