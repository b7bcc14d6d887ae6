"""Measures sets of images: all metrics of one set, and all sets for data/metrics/evaluate.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from condgen.base import files, intervals
from condgen.base.errors import UserError
from condgen.base.intervals import Value
from condgen.datasets import data
from condgen.evaluation import catalog, claims, likelihood, metrics
from condgen.evaluation.gan_train import gan_train
from condgen.models import MODELS
from condgen.models.classifier import Classifier, ClassifierParams, classify
from condgen.training.progress import Progress

SETS = (*MODELS, "real")
# The CVAE's own bounds of the log-likelihood of a test image, and their keys in its metrics file.
BOUNDS = ("test_elbo", "test_iwae_bound")
COSTS = ("parameters", "multiply_adds")
BOUND_KEYS = [key + end for key in BOUNDS for end in ("", "_interval")]


@dataclass(frozen=True)
class Measured:
    """A set's metrics, the same by class, and details for the metrics file."""

    images: int
    values: dict[str, Value]
    by_class: dict[str, Sequence]
    details: dict[str, float]


@dataclass(frozen=True)
class Features:
    """The judge's features of the three parts of a data set, `[n, f]` each."""

    train: Tensor
    validation: Tensor
    test: Tensor


def read_accuracy(path: str, source: str) -> dict:
    """The classifier's test_accuracy, from its stage's metrics file. Raises UserError as `read_numbers`."""
    return read_numbers(path, source, ["test_accuracy"])


def read_bounds(path: str, source: str) -> dict:
    """The CVAE's BOUNDS, from its stage's metrics file. Raises UserError as `read_numbers`."""
    return read_numbers(path, source, BOUND_KEYS)


def read_numbers(path: str, source: str, keys: Sequence[str]) -> dict:
    """Reads a training stage's metrics file.

    Raises UserError if a key is missing or is not a number (for *_interval: two numbers), or if the file is
    about another data set than `source`.
    """
    numbers = files.read_json(path)
    for key in ("data", *keys):
        if key not in numbers:
            raise UserError(f"{path}: {key} is missing, but its stage writes it; {data.AGAIN}")
    if numbers["data"] != source:
        raise UserError(
            f"{path}: data is {numbers['data']!r}, but data/dataset.npz is {source!r}; {data.AGAIN}"
        )
    for key in keys:
        value, is_interval = numbers[key], key.endswith("_interval")
        found = value if is_interval and isinstance(value, list) else [value]
        if len(found) != 1 + is_interval or not all(map(_is_number, found)):
            kind = "[low, high], two numbers" if is_interval else "a number"
            raise UserError(f"{path}: {key} is {value!r}, but must be {kind}; {data.AGAIN}")
    return numbers


def read_costs(path: str) -> dict[str, dict[str, float]]:
    """Model -> what it costs to draw, from stage sample's metrics file. Raises UserError without it."""
    found = files.read_json(path)
    for name in MODELS:
        for key in COSTS:
            value = found[name].get(key) if isinstance(found.get(name), dict) else None
            if not _is_number(value):
                raise UserError(f"{path}: {name}.{key} is {value!r}, but must be a number; {data.AGAIN}")
    return {name: {key: found[name][key] for key in COSTS} for name in MODELS}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def measure(
    name: str,
    drawn: data.Images,
    split: data.Split,
    features_of: Features,
    judge: Classifier,
    p: ClassifierParams,
    gan_train_epochs: int,
    history: data.Images | None = None,
) -> Measured:
    """Measures one set of images against the real test images of `split`.

    At most metrics.PER_CLASS images of a class are measured. history: pictures `[e, n, 784]` of the same
    noise after each epoch, and the n labels; without it, or with one epoch, stability is not measured.
    """
    drawn = metrics.same_count_per_class(drawn, metrics.PER_CLASS)
    features, logits = classify(judge, drawn.x)
    values, by_class = metrics.measure_images(drawn, features, logits, split.test, features_of.test)
    # Real images of the set "real" are training images themselves: others show what real ones score.
    unseen = features_of.validation if name == "real" else features
    values["authenticity"] = metrics.authenticity(unseen, features_of.train)
    progress = Progress(f"GAN-train on {name}", gan_train_epochs, ClassifierParams.section)
    right = gan_train(p, gan_train_epochs, drawn, split, progress)
    values["gan_train"] = intervals.mean(right.cpu().numpy())
    parzen, error, sigma = likelihood.parzen(drawn.x, split.validation.x, split.test.x)
    values["parzen_log_likelihood"] = parzen
    if history is not None and len(history.x) > 1:
        read = torch.stack([classify(judge, epoch)[1].argmax(dim=1) for epoch in history.x])
        values |= metrics.stability(history.x, read, history.y)
    return Measured(len(drawn), values, by_class, {"parzen_standard_error": error, "parzen_sigma": sigma})


def measure_all(
    drawn: Mapping[str, data.Images],
    histories: Mapping[str, data.Images],
    split: data.Split,
    judge: Classifier,
    p: ClassifierParams,
    gan_train_epochs: int,
) -> dict[str, Measured]:
    """Measures every model's images, and as many real ones as "real"; arguments as in `measure`."""
    per_class = min(len(images) for images in drawn.values()) // data.CLASSES
    sets = {**drawn, "real": metrics.same_count_per_class(split.train, per_class)}
    parts = (classify(judge, part.x)[0] for part in (split.train, split.validation, split.test))
    features_of = Features(*parts)
    return {
        name: measure(name, images, split, features_of, judge, p, gan_train_epochs, histories.get(name))
        for name, images in sets.items()
    }


def nearest_pairs(
    drawn: Mapping[str, data.Images], train: data.Images, per_class: int = 2
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Model -> (samples, the training image nearest to each in pixels), uint8 `[10 * per_class, 28, 28]`."""
    pairs = {}
    for name, images in drawn.items():
        shown = metrics.same_count_per_class(images, per_class)
        rows, _ = metrics.nearest(shown.x, train.x)
        pairs[name] = data.to_uint8(shown.x), data.to_uint8(train.x[rows])
    return pairs


def results(
    measured: Mapping[str, Measured],
    split: data.Split,
    reference: str,
    judge: Mapping,
    cvae: Mapping,
    costs: Mapping[str, Mapping[str, float]],
) -> dict:
    """The content of data/metrics/evaluate.json: plain values, numbers by set, intervals, claims.

    reference: "test" or "validation", what the images were measured against. judge, cvae and costs: the
    content of data/metrics/train_classifier.json, train_cvae.json and sample.json.
    """
    found = {
        name: {"images": m.images}
        | {key: value.value for key, value in m.values.items()}
        | m.details
        | dict(m.by_class)
        for name, m in measured.items()
    }
    # They are of test images, at which nobody looks who chooses parameters.
    bounds = {key: cvae[key] for key in BOUNDS if reference == "test"}
    found["cvae"] |= bounds
    for name, cost in costs.items():
        found[name] |= cost
    ranges: dict[str, dict[str, claims.Interval]] = {
        name: {
            key: None if v.low is None or v.high is None else (v.low, v.high) for key, v in m.values.items()
        }
        for name, m in measured.items()
    }
    ranges["cvae"] |= {key: tuple(cvae[f"{key}_interval"]) for key in bounds}
    return {
        "data": split.source,
        "reference": reference,
        "reference_images": len(split.test),
        "classifier": {"test_accuracy": judge["test_accuracy"]},
        **found,
        "sizes": {name: {key: value.n for key, value in m.values.items()} for name, m in measured.items()},
        "intervals": ranges,
        "claims": claims.judge(ranges),
    }


def headline(found: Mapping) -> dict[str, dict[str, float]]:
    """Set -> metric -> value, for the table of runs."""
    keys = [metric.key for metric in catalog.METRICS] + [*BOUNDS]
    return {name: {key: found[name][key] for key in keys if key in found[name]} for name in SETS}


def by_digit(found: Mapping) -> dict[str, dict[str, list[float]]]:
    """Set -> its class accuracy by digit."""
    return {name: {"class_accuracy_by_digit": found[name]["class_accuracy_by_digit"]} for name in SETS}


def candidates(found: Mapping, metric: str) -> dict[str, dict[str, float]]:
    """Model -> its value of a metric and the numbers of images: the candidates for promotion to champion."""
    reference = found["reference_images"]
    return {
        name: {"value": found[name][metric], "images": found[name]["images"], "reference_images": reference}
        for name in MODELS
        if metric in found[name]
    }
