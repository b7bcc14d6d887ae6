"""What the trainers share: the device, progress, the state of a training, and the record of its epochs."""

import math
import os
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from tqdm import tqdm

from condgen import data, files, memory
from condgen.adam import Adam
from condgen.errors import UserError
from condgen.randomness import generator

VARIANTS = 10  # pictures of each digit in the history: a 10 x 10 grid
Numbers = dict[str, float]
Network = TypeVar("Network", bound=torch.nn.Module)


def choose_device(threads: int) -> torch.device:
    """CUDA, else MPS, else the CPU; the environment variable CONDGEN_DEVICE overrides.

    Also sets how the CPU computes. `threads`: sums are split among them, so their number decides the last
    bits of results, here and in NumPy's and SciPy's libraries; OMP_NUM_THREADS does not count. Denormals
    are flushed to zero: the all-black border pixels drive Adam's moments there, and arithmetic on them
    makes an epoch up to twice as slow. So does memory that comes and goes (`memory.keep_freed`).
    """
    memory.keep_freed()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
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


def init_glorot(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Glorot-uniform weights and zero biases, the default of Keras and of tf.layers.dense.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            torch.nn.init.xavier_uniform_(module.weight, generator=generator)
            torch.nn.init.zeros_(module.bias)


def parts(model: torch.nn.Module, name: str) -> tuple[dict[str, Tensor], dict]:
    """A network as `files.write_model` takes it: its state_dict, and how to build it. Undone by `restore`."""
    return model.state_dict(), model.config | {"model": name}


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


@dataclass
class State:
    """All that training changes: what it takes to go on from an epoch as if nothing had happened.

    Nothing random is in it, because random streams derive from (seed, stream, epoch).

    Attributes:
        model: the network.
        optimizers: one for each part of it that is trained by itself.
        rows: an epoch's numbers each, from epoch 1.
        pictures: of the fixed noise, uint8 `[100, 28, 28]` each, from epoch 0; empty where none are drawn.
    """

    model: torch.nn.Module
    optimizers: dict[str, Adam]
    rows: list[Numbers] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.rows)

    def tensors(self) -> dict[str, Tensor]:
        """All of it but `rows`, by name. The tensors are those that training goes on to change."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for part, optimizer in self.optimizers.items():
            named |= {f"optimizer.{part}.{name}": value for name, value in optimizer.state().items()}
        if self.pictures:
            named["pictures"] = torch.from_numpy(np.stack(self.pictures))
        return named

    def load(self, tensors: dict[str, Tensor], rows: list[Numbers]) -> None:
        """Takes over what `tensors` returned, and `rows`. Raises KeyError and RuntimeError on a misfit."""
        own = {name: tensors[f"model.{name}"] for name in self.model.state_dict()}
        for part, optimizer in self.optimizers.items():
            prefix = f"optimizer.{part}."
            optimizer.load({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self.model.load_state_dict(own)
        self.rows = rows
        self.pictures = list(tensors["pictures"].numpy()) if "pictures" in tensors else []


def summary(state: State, source: str) -> dict:
    """What data/metrics/train_*.json says: the data set, the network's size, the last epoch's numbers."""
    parameters = sum(p.numel() for p in state.model.parameters())
    last = {key: value for key, value in state.rows[-1].items() if key != "epoch"}
    return {"data": source, "parameters": parameters} | last


class Log(Protocol):
    """Who wants to know about each epoch (MLflow, in the stages)."""

    def epoch(self, epoch: int, numbers: Numbers, images: np.ndarray | None = None) -> None: ...


class Keeper(Protocol):
    """Who keeps the state after each epoch, so that a killed training can go on."""

    def save(self, state: State) -> None: ...


def record(
    epochs: Iterable[tuple[int, Numbers]],
    state: State,
    progress: Progress,
    log: Log,
    keeper: Keeper,
    draw: Callable[[], np.ndarray] | None = None,
) -> None:
    """Trains to the end, and keeps in `state` what every epoch came to.

    `epochs` trains one epoch each time it is asked. `draw` returns the pictures of the fixed noise, uint8
    `[100, 28, 28]`; they are drawn before the first epoch too, as epoch 0. The log hears of all epochs, also
    of those that a killed process trained. Raises UserError where training diverged.
    """
    if draw and not state.pictures:
        state.pictures.append(draw())
    numbers_before = [{}, *state.rows]
    for epoch, images in enumerate(state.pictures or [None] * len(numbers_before)):
        numbers = {key: value for key, value in numbers_before[epoch].items() if key != "epoch"}
        if numbers or images is not None:
            log.epoch(epoch, numbers, images)
    for epoch, numbers in watch(epochs, progress, after=state.epoch):
        images = draw() if draw else None
        log.epoch(epoch, numbers | {"images_per_second": progress.images_per_second}, images)
        state.rows.append({"epoch": epoch} | numbers)
        if images is not None:
            state.pictures.append(images)
        keeper.save(state)


def watch(
    epochs: Iterable[tuple[int, Numbers]], progress: Progress, after: int = 0
) -> Iterator[tuple[int, Numbers]]:
    """Passes a training's epochs through and says what each came to. `after`: the epoch before the first.

    Raises UserError where training diverged, with the number, the epoch, and the step if it is known.
    """
    epoch = after
    try:
        for epoch, numbers in epochs:
            progress.line(epoch, numbers)
            for name, value in numbers.items():
                if not math.isfinite(value):
                    raise _diverged(progress, name, value, f"after epoch {epoch}")
            yield epoch, numbers
    except Diverged as error:
        at = f"in step {error.step} of" if error.step else "after"
        raise _diverged(progress, error.name, error.value, f"{at} epoch {epoch + 1}") from None


def _diverged(progress: Progress, name: str, value: float, when: str) -> UserError:
    return UserError(
        f"{progress.name}: {name} is {value} {when}: training diverged; try a smaller {progress.section}.lr"
    )


def fixed_noise(seed: int, latent_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(z, labels) that a history draws after every epoch: ten of each digit, row by row.

    z: `[100, latent_dim]` from N(0, I). labels: `[100]`, int64.
    """
    z = torch.randn(data.CLASSES * VARIANTS, latent_dim, generator=generator(seed, "history"))
    return z.to(device), data.every_class(VARIANTS, device)


def write_history(path: str, pictures: Sequence[np.ndarray], labels: Tensor) -> None:
    """Writes data/history/*.npz: epochs `[e]` from 1, images `[e, 100, 28, 28]`, labels `[100]`."""
    epochs = np.arange(1, len(pictures) + 1, dtype=np.int64)
    files.write_npz(
        path, epochs=epochs, images=np.stack(pictures), labels=labels.cpu().numpy().astype(np.uint8)
    )


class Diverged(ArithmeticError):
    """A loss that is no finite number. `step` counts from 1 within the epoch; None: at the epoch's end."""

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

    def read(self, prefix: str = "") -> Numbers:
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
