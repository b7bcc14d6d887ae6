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
from condgen.evaluation.gan_train import classifier_of, correct, gan_train
from condgen.models import MODELS
from condgen.models.classifier import Classifier, ClassifierParams, classify
from condgen.training.progress import Progress

SETS = (*MODELS, "real")
# The CVAE's own bounds of the log-likelihood of a test image, and their keys in its metrics file.
BOUNDS = ("test_elbo", "test_iwae_bound")
BITS = "test_elbo_bits"
LONGEST_TAG = 5000  # characters of a tag in MLflow
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
    """The judge's features of real images, `[n, f]` each."""

    train: Tensor
    test: Tensor


def read_accuracy(path: str, source: str) -> dict:
    """The classifier's test_accuracy, from its stage's metrics file. Raises UserError as `read_numbers`."""
    return read_numbers(path, source, ["test_accuracy"])


def read_bounds(path: str, source: str) -> dict:
    """The CVAE's BOUNDS, from its stage's metrics file. Raises UserError as `read_numbers`."""
    return read_numbers(path, source, [*BOUND_KEYS, BITS])


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
    second: Classifier,
    p: ClassifierParams,
    gan_train_epochs: int,
    history: data.Images | None = None,
) -> Measured:
    """Measures one set of images against the real test images of `split`.

    second: a classifier that was trained on the images of the set "real". history: pictures `[e, n, d]` of
    the same noise after each epoch, and the n labels; without it, or with one epoch, there is no stability.
    """
    features, logits = classify(judge, drawn.x)
    values, by_class = metrics.measure_images(
        split.spec, drawn, features, logits, split.test, features_of.test
    )
    if name == "real":
        # The judge was trained on these, so what real images score is shown by those that it never saw.
        accuracy = metrics.class_accuracy(judge.logits(features_of.test), split.test.y)
        values["class_accuracy"], by_class["class_accuracy_by_class"] = accuracy
    unseen = features_of.test if name == "real" else features
    values["authenticity"] = metrics.authenticity(unseen, features_of.train)
    values |= metrics.in_another_space(lambda x: classify(second, x)[0], drawn.x, split.test.x, "second")
    if name == "real":
        right = correct(second, split.test)
    else:
        right = gan_train(p, gan_train_epochs, drawn, split, _progress(name, gan_train_epochs))
    values["gan_train"] = intervals.mean(right.cpu().numpy())
    parzen, error, sigma = likelihood.parzen(drawn.x, split.validation.x, split.test.x)
    values["parzen_log_likelihood"] = parzen
    if history is not None and len(history.x) > 1:
        read = torch.stack([classify(judge, epoch)[1].argmax(dim=1) for epoch in history.x])
        values |= metrics.stability(history.x, read, history.y)
    details = {"parzen_standard_error": error, "parzen_sigma": sigma}
    if history is not None:
        details[claims.EPOCHS] = len(history.x)
    return Measured(len(drawn), values, by_class, details)


def _progress(name: str, epochs: int) -> Progress:
    return Progress(f"GAN-train on {name}", epochs, ClassifierParams.section)


def measure_all(
    drawn: Mapping[str, data.Images],
    histories: Mapping[str, data.Images],
    split: data.Split,
    judge: Classifier,
    p: ClassifierParams,
    gan_train_epochs: int,
) -> dict[str, Measured]:
    """Measures every model's images, and as many real ones as "real"; arguments as in `measure`.

    Of each class as many as the training set has, at most what was drawn and metrics.PER_CLASS: many measures
    depend on the number of images, so all sets have the same.
    """
    most = min(metrics.PER_CLASS, *(len(images) // split.spec.count for images in drawn.values()))
    counts = torch.bincount(split.train.y, minlength=split.spec.count).clamp(max=most).tolist()
    sets = {
        name: metrics.first_of_each_class(images, counts)
        for name, images in {**drawn, "real": split.train}.items()
    }
    features_of = Features(*(classify(judge, part.x)[0] for part in (split.train, split.test)))
    # A second judge, of another seed: a verdict that depends on the judge is none.
    other = p.model_copy(update={"seed": (p.seed + 1) % 2**32})
    second = classifier_of(other, gan_train_epochs, sets["real"], split, _progress("real", gan_train_epochs))
    return {
        name: measure(
            name, images, split, features_of, judge, second, p, gan_train_epochs, histories.get(name)
        )
        for name, images in sets.items()
    }


def nearest_pairs(
    drawn: Mapping[str, data.Images], split: data.Split, per_class: int = 2
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Model -> (samples, the training image nearest to each in pixels), uint8 `[n, ...]`."""
    pairs, spec = {}, split.spec
    for name, images in drawn.items():
        shown = metrics.first_of_each_class(images, [per_class] * spec.count)
        rows, _ = metrics.nearest(shown.x, split.train.x)
        pairs[name] = spec.to_uint8(shown.x), spec.to_uint8(split.train.x[rows])
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
    if bounds:
        found["cvae"][BITS] = cvae[BITS]
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
        "classes": list(split.spec.classes),
        "reference": reference,
        "reference_images": len(split.test),
        "classifier": {"test_accuracy": judge["test_accuracy"]},
        **found,
        "sizes": {name: {key: value.n for key, value in m.values.items()} for name, m in measured.items()},
        "intervals": ranges,
        "claims": claims.judge(ranges, found),
    }


def summary(found: Mapping) -> dict[str, dict[str, float]]:
    """The content of data/metrics/summary.json: model -> the metrics that say most, from evaluate.json's."""
    return {name: {key: found[name][key] for key in catalog.SUMMARY} for name in MODELS}


def reference(found: Mapping) -> str:
    """What was measured against, in words: the data set, of which test images unless it says so."""
    source, part = found["data"], found["reference"]
    return source if part == "test" else f"{source}, {part} images"


def headline(found: Mapping) -> dict[str, dict[str, float]]:
    """Set -> metric -> value, for the table of runs.

    The Fréchet distance is first, because MLflow's comparison opens on the first metric: nearly every change
    changes it.
    """
    keys = ["frechet_distance", *(metric.key for metric in catalog.METRICS), *BOUNDS, claims.EPOCHS]
    return {name: {key: found[name][key] for key in keys if key in found[name]} for name in SETS}


def by_class(found: Mapping) -> dict[str, dict[str, list[float]]]:
    """Set -> its class accuracy by class."""
    return {name: {"class_accuracy_by_class": found[name]["class_accuracy_by_class"]} for name in SETS}


def candidates(found: Mapping, metric: str) -> dict[str, dict[str, float | str]]:
    """Model -> its value of a metric, the numbers of images, the classes: the candidates for the champion."""
    reference = found["reference_images"]
    return {
        name: {
            "value": found[name][metric],
            "images": found[name]["images"],
            "reference_images": reference,
            "classes": ", ".join(found["classes"])[:LONGEST_TAG],
        }
        for name in MODELS
        if metric in found[name]
    }
