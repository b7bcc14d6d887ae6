"""This project's trainings by name, as `make bench` runs them: without MLflow and without files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from condgen.base import params
from condgen.base.sections import Section
from condgen.datasets import data
from condgen.models import cgan, classifier, cvae
from condgen.training import state as training_state
from condgen.training.loop import train
from condgen.training.progress import Progress
from specs import DIGITS

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
KINDS = {"cvae": cvae, "cgan": cgan, "classifier": classifier}
BEST = ", best recipe"
NAMES = ("cvae", "cgan", "classifier", "cvae" + BEST, "cgan" + BEST)
FEW = 6000  # images of an epoch of the best recipe's networks, whose whole epoch takes a minute


class Training(NamedTuple):
    """A training in progress; `next(epochs)` trains the next epoch."""

    p: Section
    state: training_state.State
    progress: Progress
    epochs: Iterator


def kind(name: str) -> ModuleType:
    """The module of `condgen.models` that a name's training is of."""
    return KINDS[name.removesuffix(BEST)]


def parameters(name: str) -> Any:
    """Of params.yaml, or of the best recipe if the name says so."""
    of = kind(name).Params
    p = params.read(of, PARAMS)
    if not name.endswith(BEST):
        return p
    best = params.load(ROOT / "recipes/best.yaml")[of.section]
    return of.model_validate(p.model_dump() | best)


def load() -> data.Split:
    """The pipeline's data set, which `make repro` or `dvc repro download` must have made."""
    return data.load(ROOT / "data/dataset.npz", params.read(data.SplitParams, PARAMS))


def images(name: str, split: data.Split) -> data.Split:
    """What a name's training is measured on: all training images, or FEW of them."""
    if not name.endswith(BEST):
        return split
    return replace(split, train=data.Images(split.train.x[:FEW], split.train.y[:FEW]))


def begin(name: str, split: data.Split, epochs: int) -> Training:
    """`split`: as `images` gives it."""
    p, progress = parameters(name).model_copy(update={"epochs": epochs}), Progress(name, epochs)
    state = training_state.begin(kind(name), p, DIGITS, 0, len(split.train))
    return Training(p, state, progress, train(kind(name), state, split, p, 0, progress))
