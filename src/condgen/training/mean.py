"""Means of losses over an epoch, and how a loss that is NaN or infinite is noticed."""

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
    """Means over an epoch's images. Adding waits for nothing on the device, which is read once an epoch.

    images: how many will be added, at most.
    """

    def __init__(self, images: int):
        self.images, self.ends = images, [0]

    def add(self, values: dict[str, Tensor]) -> None:
        """Adds a batch: each value of each of its images, `[b]`, detached; the same names each time."""
        batch = torch.stack(tuple(values.values()))
        if len(self.ends) == 1:
            # All of it at once: small tensors that stay, made between a step's large ones that go, would
            # leave holes in memory that nothing fits into, up to 300 MB of them.
            self.names, self.values = list(values), batch.new_empty(len(values), self.images)
        self.ends.append(self.ends[-1] + batch.shape[1])
        self.values[:, self.ends[-2] : self.ends[-1]] = batch

    def compute(self, prefix: str = "") -> Numbers:
        """Means over all images added, as floats. Raises Diverged with the step where one is not finite."""
        # float64 on the CPU: float32 would round sums over an epoch, and MPS has nothing wider.
        values = dict(zip(self.names, self.values[:, : self.ends[-1]].cpu().double(), strict=True))
        for name, value in values.items():
            bad = value.isfinite().logical_not().nonzero()
            if len(bad):
                first, steps = int(bad[0]), len(self.ends) - 1
                step = bisect_right(self.ends, first) if steps > 1 else None
                raise Diverged(prefix + name, float(value[first]), step)
        return {prefix + name: float(value.mean()) for name, value in values.items()}
