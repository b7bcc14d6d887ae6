"""The training loop, the same for every model.

`train` runs the epochs: the model's step on shuffled batches, then its `validate`. `record` stores each
epoch's numbers and pictures. `run` does both for a stage, and resumes from its checkpoint.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from condgen.base import pipeline
from condgen.base.device import machine
from condgen.base.errors import UserError
from condgen.base.random import generator
from condgen.datasets import data
from condgen.training.checkpoint import Checkpoint, recipe
from condgen.training.history import fixed_noise
from condgen.training.mean import Diverged, Mean
from condgen.training.progress import Progress
from condgen.training.state import Numbers, State, begin, phases

STATISTICS = 10_000  # labels of training images that an average's statistics are computed for


def train(
    kind: ModuleType, state: State, split: data.Split, p: Any, seed: int, progress: Progress
) -> Iterator[tuple[int, Numbers]]:
    """Trains the epochs that `state` lacks, one per iteration; yields (epoch, numbers).

    kind: a module of `condgen.models`. p: its parameters. Each phase after the first begins as
    `State.begin_phase` says. The numbers are means over an epoch of what the step returns, computed while the
    weights change. If the model has a `validate`, their names begin with train_, and its numbers on the
    validation images are added.
    """
    images, name, device = split.train, p.section, split.train.x.device
    validate, renew = getattr(kind, "validate", None), getattr(kind, "renew_statistics", None)
    count = ceil(len(images) / p.batch_size)
    steps = [step for epochs, step in phases(kind, p) for _ in range(epochs)]
    for epoch in range(state.epoch + 1, len(steps) + 1):
        step = steps[epoch - 1]
        if epoch > 1 and step is not steps[epoch - 2]:
            state.begin_phase()
        shuffle = generator(seed, f"{name}/shuffle", epoch, device)
        noise = generator(seed, f"{name}/noise", epoch, device)
        mean = Mean(len(images))
        batches = data.batches(images.x, images.y, p.batch_size, shuffle)
        state.model.train()
        for x, labels in progress.batches(epoch, batches, count):
            mean.add(step(state.model, state.optimizers, x, labels, noise, p))
            state.stepped()
        if state.average is not None and renew is not None:
            drawn = generator(seed, f"{name}/statistics", epoch, device)
            renew(state.average.module, images.y[:STATISTICS], drawn)
        numbers = mean.compute("train_" if validate else "")
        yield epoch, numbers | (validate(state.trained, split.validation, seed) if validate else {})


class Stage(NamedTuple):
    """What identifies a training besides its parameters: stage, the data set's file, its split, seed."""

    name: str
    path: str
    split: data.SplitParams
    seed: int


def run(
    kind: ModuleType, p: Any, images: data.Split, stage: Stage, log: "Log", draws: bool = True
) -> tuple[State, Checkpoint]:
    """Trains a stage's model to the end, resuming from the checkpoint of the same recipe if there is one.

    kind: a module of `condgen.models`. draws: whether pictures are drawn after each epoch. The stage removes
    the checkpoint once it has written its files. Raises UserError if training diverged.
    """
    device, seed = images.train.x.device, stage.seed
    state = begin(kind, p, images.spec, seed, len(images.train), device)
    made_by = recipe(stage.name, stage.path, machine(device), p, stage.split, seed=seed)
    checkpoint = Checkpoint(pipeline.root(), stage.name, made_by)
    checkpoint.restore(state)
    progress = Progress(p.section, sum(epochs for epochs, _ in phases(kind, p)))
    draw = None
    if draws:
        z, labels = fixed_noise(images.spec, seed, p.latent_dim, device)

        def draw() -> np.ndarray:
            return images.spec.to_uint8(kind.draw(state.trained, z, labels))

    record(train(kind, state, images, p, seed, progress), state, progress, log, checkpoint, draw)
    return state, checkpoint


class Log(Protocol):
    """Receives each epoch's numbers and pictures (for MLflow, in the stages)."""

    def epoch(self, epoch: int, numbers: Numbers, images: np.ndarray | None = None) -> None: ...


class Keeper(Protocol):
    """Stores the state after each epoch, so that a killed training can be resumed."""

    def save(self, state: State) -> None: ...


def record(
    epochs: Iterable[tuple[int, Numbers]],
    state: State,
    progress: Progress,
    log: Log,
    keeper: Keeper,
    draw: Callable[[], np.ndarray] | None = None,
) -> None:
    """Trains to the end, and adds each epoch's numbers and pictures to `state`.

    `epochs` trains one epoch per iteration. `draw` returns the pictures of the fixed noise, uint8
    `[n, ...]`; they are also drawn before the first epoch, as epoch 0. The log receives all epochs, also
    those that a killed process trained. Raises UserError if training diverged.
    """
    if draw and not state.pictures:
        state.pictures.append(draw())
    numbers_before = [{}, *state.rows]
    for epoch in range(len(numbers_before)):
        images = state.pictures[epoch] if state.pictures else None
        numbers = {key: value for key, value in numbers_before[epoch].items() if key != "epoch"}
        if numbers or images is not None:
            log.epoch(epoch, numbers, images)
    for epoch, numbers in watch(epochs, progress, after=state.epoch):
        images = draw() if draw else None
        log.epoch(epoch, numbers | {"images_per_second": progress.images_per_second}, images)
        state.rows.append({"epoch": epoch} | numbers)
        state.seconds += progress.seconds
        if images is not None:
            state.pictures.append(images)
        keeper.save(state)


def watch(
    epochs: Iterable[tuple[int, Numbers]], progress: Progress, after: int = 0
) -> Iterator[tuple[int, Numbers]]:
    """Passes a training's epochs through and prints their numbers. `after`: the epoch before the first.

    Raises UserError if training diverged; it names the number, the epoch, and the step if it is known.
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
