"""What a training shows while it runs, and how fast it is."""

import sys
import time
from collections.abc import Iterable, Iterator

from torch import Tensor
from tqdm import tqdm

from condgen.training.state import Numbers


class Progress:
    """One bar an epoch on a terminal, one line an epoch elsewhere; measures the training speed.

    section: where params.yaml has the step size, if that is not called as the training is.
    """

    def __init__(self, name: str, epochs: int, section: str | None = None):
        self.name, self.epochs, self.section = name, epochs, section or name
        self.images_per_second = float("nan")

    def batches(self, epoch: int, batches: Iterable[tuple[Tensor, Tensor]], count: int) -> Iterator:
        """Passes an epoch's `count` batches through. Validation and drawing are not in the speed."""
        images, start = 0, time.perf_counter()
        # disable=None: a bar on a terminal, silence elsewhere.
        with tqdm(total=count, desc=f"{self.name} {epoch}/{self.epochs}", disable=None, leave=False) as bar:
            for x, y in batches:
                yield x, y
                images += len(x)
                bar.update()
            if images:
                float(x.flatten()[0])  # reading a value waits for all the work that a GPU still has queued
        self.images_per_second = images / (time.perf_counter() - start)

    def line(self, epoch: int, numbers: Numbers) -> None:
        """Says what an epoch came to."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        tqdm.write(f"{self.name} {epoch}/{self.epochs}  {text}  {self.images_per_second:,.0f} images/s")
        sys.stdout.flush()  # through a pipe or into a log file, now and not at the end
