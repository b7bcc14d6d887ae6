"""Shows a training's progress and measures its speed."""

import sys
import time
from collections.abc import Iterable, Iterator

from torch import Tensor
from tqdm import tqdm

from condgen.training.state import Numbers


class Progress:
    """A bar per epoch on a terminal, and a line per epoch; measures the training speed.

    section: the section of params.yaml that has the step size, if it is not called `name`.
    """

    def __init__(self, name: str, epochs: int, section: str | None = None):
        self.name, self.epochs, self.section = name, epochs, section or name
        self.images_per_second, self.seconds = float("nan"), 0.0

    def batches(self, epoch: int, batches: Iterable[tuple[Tensor, Tensor]], count: int) -> Iterator:
        """Passes an epoch's `count` batches through. The time does not include validation and drawing."""
        images, start = 0, time.perf_counter()
        # disable=None: a bar only on a terminal.
        with tqdm(total=count, desc=f"{self.name} {epoch}/{self.epochs}", disable=None, leave=False) as bar:
            for x, y in batches:
                yield x, y
                images += len(x)
                bar.update()
            if images:
                float(x.flatten()[0])  # reading a value waits for the work that is queued on a GPU
        self.seconds = time.perf_counter() - start
        self.images_per_second = images / self.seconds

    def line(self, epoch: int, numbers: Numbers) -> None:
        """Prints an epoch's numbers."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        tqdm.write(f"{self.name} {epoch}/{self.epochs}  {text}  {self.images_per_second:,.0f} images/s")
        sys.stdout.flush()  # a pipe or a log file would show it only at the end
