"""This project's trainings by name, as `make bench` runs them: without MLflow, without files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from condgen import cgan, classifier, cvae, data, params, training
from condgen.params import Section

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
SECTIONS = {"cvae": cvae.CVAEParams, "cgan": cgan.CGANParams, "classifier": classifier.ClassifierParams}


class Training(NamedTuple):
    """A training that has begun; asking `epochs` for the next trains it."""

    p: Section
    state: training.State
    progress: training.Progress
    epochs: Iterator


def parameters(name: str) -> Section:
    return params.read(SECTIONS[name], PARAMS)


def load() -> data.Split:
    """The data set of the pipeline: `make repro` or `dvc repro download` has made it."""
    return data.load(ROOT / "data/mnist.npz", params.read(data.SplitParams, PARAMS))


def begin(name: str, split: data.Split, epochs: int) -> Training:
    p, progress = parameters(name).model_copy(update={"epochs": epochs}), training.Progress(name, epochs)
    if name == "classifier":
        state = classifier.start(p, len(split.train))
        return Training(p, state, progress, classifier.train(state, split, p, progress))
    module = {"cvae": cvae, "cgan": cgan}[name]
    state = module.start(p, 0)
    return Training(p, state, progress, module.train(state, split, p, 0, progress))
