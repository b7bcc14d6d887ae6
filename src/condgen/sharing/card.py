"""The model card, README.md of a model repository: what the model is, its numbers and its limits."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from condgen.base import params
from condgen.datasets.spec import Words
from condgen.evaluation.catalog import METRICS
from condgen.models import MODELS
from condgen.reporting import report
from condgen.sampling.generator import Generator
from condgen.sharing.origin import Origin

SHOWN = 40  # names of classes
HEADLINE = ("class_accuracy", "frechet_distance", "recall", "coverage", "gan_train")
"""What Hugging Face lists of a model, from the card's header."""
# As Hugging Face calls the data sets; by how a run names its data.
DATASETS = {"MNIST, all": "ylecun/mnist", "FashionMNIST": "zalando-datasets/fashion_mnist"}
# What to say of a number that is far from real images': metric, how far, sentence.
WARNINGS = (
    ("class_accuracy", lambda own, real: own < 0.97 * real,
     "As the classifier sees them, {missed:.1f} % of its images are of another class than was asked for."),
    ("coverage", lambda own, real: own < 0.8 * real,
     "It lacks diversity: only {own:.1f} % of real images have a drawn one near them (coverage; other real "
     "images: {real:.1f} %)."),
    ("sharpness", lambda own, real: own < 0.8 * real,
     "Its images are blurred: a sharpness of {ratio:.2f} of that of real images."),
)  # fmt: skip


def text(model: Generator, origin: Origin, dtype: str, numbers: int) -> str:
    """The card in Markdown, with a header in YAML as Hugging Face reads it.

    dtype, numbers: of the weights that lie beside it.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8"))
    spec, results = model.spec, origin.results
    data = results.get("data", "")
    several = any(len(name) > 1 for name in spec.classes)
    names = spec.classes[:SHOWN]
    return template.render(
        name=model.name,
        title=MODELS[model.name].title,
        about=MODELS[model.name].about,
        spec=spec,
        words=Words(spec.classes),
        classes=", ".join(names) + (", ..." if len(spec.classes) > SHOWN else ""),
        text=shlex.quote(", ".join(names[:3]) if several else "".join(names[:3])),
        latent_dim=model.latent_dim,
        shape=f"[{', '.join(map(str, ['n', *spec.shape]))}]",
        dtype=dtype,
        numbers=f"{numbers:,}",
        dataset=next((there for start, there in DATASETS.items() if data.startswith(start)), ""),
        params=origin.params,
        as_text=params.as_text,
        recipe=origin.recipe,
        results=results,
        headline=HEADLINE,
        rows=_rows(results, model.name) if results else [],
        limits=_limits(results, model.name) if results else [],
        caption=_caption(results) if results else "",
    )


def _rows(results: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The metrics that were measured."""
    return [
        {
            "key": metric.key,
            "plain": metric.name,
            "name": f"{metric.name} ({metric.unit}){report.ARROWS[metric.better]}",
            "value": results[name][metric.key],
            "cell": report.cell(results, name, metric.key)[0],
            "interval": report.cell(results, name, metric.key)[1] or "–",
            "n": f"{results['sizes'][name][metric.key]:,}" if metric.key in results["sizes"][name] else "–",
            "real": report.cell(results, "real", metric.key)[0],
        }
        for metric in METRICS
        if results[name].get(metric.key) is not None
    ]


def _limits(results: Mapping[str, Any], name: str) -> list[str]:
    """What its numbers say against it."""
    found = []
    for key, poor, sentence in WARNINGS:
        own, real = results[name].get(key), results["real"].get(key)
        if own is not None and real is not None and poor(own, real):
            found.append(
                sentence.format(own=100 * own, real=100 * real, missed=100 * (1 - own), ratio=own / real)
            )
    return [*found, *filter(None, [report.warning(results)])]


def _caption(results: Mapping[str, Any]) -> str:
    words = Words(results["classes"])
    return (
        f"Measured against {results['reference_images']:,} {results['reference']} {words.images} in the "
        f"features of a classifier with {100 * results['classifier']['test_accuracy']:.2f} % accuracy on "
        f"test {words.images}; *real images* are training images, measured in the same way. n: how many "
        "values are averaged, or the size of the set. Where there is no interval, none is sound: see "
        "condgen's docs/results.md for what each metric is and whose."
    )
