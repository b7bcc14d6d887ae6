"""This project's trainings by name, as `make bench` runs them: without MLflow and without files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
MODULES = {"cvae": cvae, "cgan": cgan, "classifier": classifier}
SECTIONS = {"cvae": cvae.CVAEParams, "cgan": cgan.CGANParams, "classifier": classifier.ClassifierParams}


class Training(NamedTuple):
    """A training in progress; `next(epochs)` trains the next epoch."""

    p: Section
    state: training_state.State
    progress: Progress
    epochs: Iterator


def parameters(name: str) -> Section:
    return params.read(SECTIONS[name], PARAMS)


def load() -> data.Split:
    """The pipeline's data set, which `make repro` or `dvc repro download` must have made."""
    return data.load(ROOT / "data/dataset.npz", params.read(data.SplitParams, PARAMS))


def begin(name: str, split: data.Split, epochs: int) -> Training:
    p, progress = parameters(name).model_copy(update={"epochs": epochs}), Progress(name, epochs)
    module = MODULES[name]
    state = training_state.begin(module, p, DIGITS, DIGITS, 0, len(split.train))
    return Training(p, state, progress, train(module, state, split, p, 0, progress))
