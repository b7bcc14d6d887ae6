"""What the trainers share: the device, progress, the history of pictures, and the record of numbers."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from condgen import data, files
from condgen.errors import UserError
from condgen.randomness import generator

VARIANTS = 10  # pictures of each digit in the history: a 10 x 10 grid
Numbers = dict[str, float]
Network = TypeVar("Network", bound=torch.nn.Module)


def choose_device() -> torch.device:
    """CUDA, else MPS, else the CPU; the environment variable CONDGEN_DEVICE overrides.

    Also tells the CPU to flush denormals to zero: the all-black border pixels drive Adam's moments there,
    and arithmetic on them makes an epoch up to twice as slow.
    """
    torch.set_flush_denormal(True)
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    name = os.environ.get("CONDGEN_DEVICE") or next(name for name in available if available[name]())
    try:
        device = torch.device(name)
        usable = available[device.type]()
    except (RuntimeError, KeyError):
        raise UserError(f"CONDGEN_DEVICE is {name!r}: allowed are {', '.join(available)}") from None
    try:
        if usable:
            torch.empty(0, device=device)  # there may be a first GPU but no seventh
            return device
    except RuntimeError:
        pass
    raise UserError(f"CONDGEN_DEVICE is {name!r}, but this machine has none that PyTorch can use")


def machine(device: torch.device) -> dict[str, str | int]:
    """What float results depend on beside the parameters: the device, the thread count, PyTorch."""
    return {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__}


def summary(last: dict[str, float], model: torch.nn.Module, source: str) -> dict:
    """What data/metrics/train_*.json says: the data set, the network's size, the last epoch's numbers."""
    parameters = sum(p.numel() for p in model.parameters())
    return {"data": source, "parameters": parameters} | {k: v for k, v in last.items() if k != "epoch"}


def init_glorot(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Glorot-uniform weights and zero biases, the default of Keras and of tf.layers.dense.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            torch.nn.init.xavier_uniform_(module.weight, generator=generator)
            torch.nn.init.zeros_(module.bias)


class AdamParams(Protocol):
    """What a section says of Adam."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float


def adam(parameters: Iterable[torch.nn.Parameter], p: AdamParams) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), all parameters of a network updated in one fused kernel."""
    return torch.optim.Adam(parameters, lr=p.lr, betas=(p.beta1, p.beta2), eps=p.epsilon, fused=True)


def restore(kind: type[Network], state: dict[str, Tensor], config: dict) -> Network:
    """A network of class `kind` from what `files.read_model` read. Raises UserError where they do not fit.

    `config` holds the arguments of the class, and `model`, which names it for people and for serving.
    """
    try:
        model = kind(**{key: value for key, value in config.items() if key != "model"})
        model.load_state_dict(state)
    except (TypeError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the files of the {kind.__name__} do not fit one another ({error}): 'dvc repro' makes them anew"
        ) from None
    return model.eval()


class Progress:
    """One bar an epoch on a terminal, one line an epoch elsewhere; measures the training speed."""

    def __init__(self, name: str, epochs: int):
        self.name, self.epochs = name, epochs
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


class Log(Protocol):
    """Who wants to know about each epoch (MLflow, in the stages)."""

    def epoch(self, epoch: int, numbers: Numbers, images: np.ndarray | None = None) -> None: ...


def record(
    epochs: Iterable[tuple[int, Numbers]],
    progress: Progress,
    log: Log,
    draw: Callable[[], np.ndarray] | None = None,
) -> tuple[list[dict[str, float]], np.ndarray]:
    """Trains to the end, and keeps what every epoch came to.

    `epochs` trains one epoch each time it is asked. `draw` returns the pictures of the fixed noise,
    uint8 `[100, 28, 28]`; they are logged before the first epoch too, as epoch 0.

    Returns the curves, a row of numbers an epoch, and the pictures,
    uint8 `[epochs, 100, 28, 28]`. Raises UserError where training diverged.
    """
    rows, history = [], []
    if draw:
        log.epoch(0, {}, draw())
    for epoch, numbers in epochs:
        progress.line(epoch, numbers)
        wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
        if wrong:
            raise UserError(
                f"{progress.name}: {wrong[0]} is {numbers[wrong[0]]} after epoch {epoch}: "
                f"training diverged; try a smaller {progress.name}.lr"
            )
        images = draw() if draw else None
        log.epoch(epoch, numbers | {"images_per_second": progress.images_per_second}, images)
        rows.append({"epoch": epoch} | numbers)
        if images is not None:
            history.append(images)
    return rows, np.stack(history) if history else np.empty((0, 0, data.SIDE, data.SIDE), np.uint8)


def fixed_noise(seed: int, latent_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(z, labels) that a history draws after every epoch: ten of each digit, row by row.

    z: `[100, latent_dim]` from N(0, I). labels: `[100]`, int64.
    """
    z = torch.randn(data.CLASSES * VARIANTS, latent_dim, generator=generator(seed, "history"))
    return z.to(device), data.every_class(VARIANTS, device)


def write_history(path: str, images: np.ndarray, labels: Tensor) -> None:
    """Writes data/history/*.npz: epochs `[e]`, images `[e, 100, 28, 28]`, labels `[100]`."""
    epochs = np.arange(1, len(images) + 1, dtype=np.int64)
    files.write_npz(path, epochs=epochs, images=images, labels=labels.cpu().numpy().astype(np.uint8))


class Mean:
    """Means over images. Adding queues no work on the device, which is read once an epoch."""

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}
        self.images: list[int] = []

    def add(self, means: dict[str, Tensor], images: int) -> None:
        """Adds a batch: scalar means over its images, detached."""
        for name, value in means.items():
            self.values.setdefault(name, []).append(value)
        self.images.append(images)

    def read(self, prefix: str = "") -> Numbers:
        """Means over all images added, as floats."""
        share = torch.tensor(self.images, dtype=torch.float64) / sum(self.images)
        # float64 on the CPU: float32 would round sums over an epoch, and MPS has nothing wider.
        return {
            prefix + name: float(torch.stack(values).cpu().double() @ share)
            for name, values in self.values.items()
        }
