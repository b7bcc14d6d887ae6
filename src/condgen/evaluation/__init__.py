"""Everything that is measured of one set of images, and all sets together as data/metrics/evaluate.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field

from condgen import claims, classifier, data, files, intervals, likelihood, metrics
from condgen.classifier import Classifier, ClassifierParams
from condgen.errors import UserError
from condgen.intervals import Value
from condgen.params import Section
from condgen.training import Progress

# The CVAE's own bounds of the log-likelihood of a test image; and what its metrics file says of them.
BOUNDS = ("test_elbo", "test_iwae_bound")
BOUND_KEYS = [key + end for key in BOUNDS for end in ("", "_interval")]


class EvaluateParams(Section):
    """Section `evaluate` of params.yaml."""

    section: ClassVar[str] = "evaluate"
    gan_train_epochs: int = Field(ge=1, le=1000)


@dataclass(frozen=True)
class Measured:
    """A set's numbers, the same by class, and what else a file of numbers should say of it."""

    images: int
    values: dict[str, Value]
    by_class: dict[str, Sequence]
    details: dict[str, float]


def read_numbers(path: str, source: str, keys: Sequence[str]) -> dict:
    """What a training stage's metrics file says. Raises UserError where one of the keys is no number (or no
    interval, if it is called one), or where the file is about another data set than `source`."""
    numbers = files.read_json(path)
    for key in ("data", *keys):
        if key not in numbers:
            raise UserError(f"{path}: {key} is missing: allowed is what the stage writes; {data.AGAIN}")
    if numbers["data"] != source:
        raise UserError(
            f"{path}: data is {numbers['data']!r}: allowed is {source!r}, as in data/mnist.npz; {data.AGAIN}"
        )
    for key in keys:
        value, is_interval = numbers[key], key.endswith("_interval")
        found = value if is_interval and isinstance(value, list) else [value]
        if len(found) != 1 + is_interval or not all(map(_is_number, found)):
            allowed = "[low, high], two numbers" if is_interval else "a number"
            raise UserError(f"{path}: {key} is {value!r}: allowed is {allowed}; {data.AGAIN}")
    return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def measure(
    name: str,
    drawn: data.Images,
    split: data.Split,
    yardstick: Classifier,
    p: ClassifierParams,
    gan_train_epochs: int,
    history: data.Images | None = None,
) -> Measured:
    """Measures one set of images against the real test images.

    At most metrics.PER_CLASS images of a class are measured. history: pictures `[e, n, 784]` of the same
    noise after each epoch, and the n labels; without it, or with one epoch, nothing is said of stability.
    """
    drawn = metrics.same_count_per_class(drawn, metrics.PER_CLASS)
    features, logits = classifier.read(yardstick, drawn.x)
    real_features, _ = classifier.read(yardstick, split.test.x)
    values, by_class = metrics.compare(drawn, features, logits, split.test, real_features)
    progress = Progress(f"GAN-train on {name}", gan_train_epochs, ClassifierParams.section)
    right = classifier.gan_train(p, gan_train_epochs, drawn, split, progress)
    values["gan_train"] = intervals.mean(right.cpu().numpy())
    parzen, error, sigma = likelihood.parzen(drawn.x, split.validation.x, split.test.x)
    values["parzen_log_likelihood"] = parzen
    if history is not None and len(history.x) > 1:
        read = torch.stack([classifier.read(yardstick, epoch)[1].argmax(dim=1) for epoch in history.x])
        values |= metrics.stability(history.x, read, history.y)
    return Measured(len(drawn), values, by_class, {"parzen_standard_error": error, "parzen_sigma": sigma})


def results(measured: Mapping[str, Measured], split: data.Split, yardstick: Mapping, cvae: Mapping) -> dict:
    """What data/metrics/evaluate.json holds: plain values, numbers by set, intervals, claims.

    yardstick and cvae: what data/metrics/train_classifier.json and train_cvae.json hold.
    """
    found = {
        name: {"images": m.images}
        | {key: value.value for key, value in m.values.items()}
        | m.details
        | dict(m.by_class)
        for name, m in measured.items()
    }
    bounds = {key: cvae[key] for key in BOUNDS}
    found["cvae"] |= bounds
    ranges = {
        name: {key: None if v.low is None else [v.low, v.high] for key, v in m.values.items()}
        for name, m in measured.items()
    }
    ranges["cvae"] |= {key: cvae[f"{key}_interval"] for key in bounds}
    return {
        "data": split.source,
        "reference_images": len(split.test),
        "classifier": {"test_accuracy": yardstick["test_accuracy"]},
        **found,
        "sizes": {name: {key: value.n for key, value in m.values.items()} for name, m in measured.items()},
        "intervals": ranges,
        "claims": claims.judge(ranges),
    }


def headline(found: Mapping) -> dict[str, dict[str, float]]:
    """Set -> metric -> value: what a table of runs should show."""
    keys = [metric.key for metric in metrics.METRICS] + [*BOUNDS]
    return {
        name: {key: found[name][key] for key in keys if key in found[name]}
        for name in ("cvae", "cgan", "real")
    }
