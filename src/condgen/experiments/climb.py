"""The results of each rung of recipes/ladder.yaml, from finished runs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame

from condgen.base import params
from condgen.experiments.pooling import TAGS
from condgen.experiments.recipes import Rung

METRICS = (
    "class_accuracy",
    "frechet_distance",
    "precision",
    "recall",
    "coverage",
    "sharpness",
    "gan_train",
    "train_seconds",
)


@dataclass(frozen=True)
class Climbed:
    """A rung of one model: its number, its idea, how many seeds ran it, and their mean numbers.

    spreads: sample standard deviations over seeds, of what more than one seed has.
    """

    model: str
    number: int
    idea: str
    seeds: int
    values: Mapping[str, float]
    spreads: Mapping[str, float]


def measured(
    ladder: Mapping[str, Sequence[Rung]], runs: DataFrame, extra: Mapping[str, Any] | None = None
) -> list[Climbed]:
    """Every rung, from the runs whose parameters of that model, and of what measures it, are the rung's.

    extra: parameters that were set in all of them, whatever the rung says. The other model's parameters do
    not matter. Only runs with the latest one's code and data count. A rung without a run has no values.
    """
    others = {f"{section}." for section in ladder}
    found = []
    for model, rungs in ladder.items():
        ignored = tuple(others - {f"{model}."})
        for number, rung in enumerate(rungs):
            of_rung = with_values(runs, {**rung.values, **(extra or {})}, ignored)
            found.append(_pooled(model, number, rung.idea, of_rung))
    return found


def with_values(runs: DataFrame, values: Mapping[str, Any], ignored: Sequence[str] = ()) -> DataFrame:
    """The runs whose parameters are those of params.yaml with these values, whatever the seed.

    ignored: beginnings of dotted names that do not matter either.
    """
    for key, value in (params.flat() | dict(values)).items():
        if not key.startswith(("registry.", "seed", *ignored)):
            column = f"params.{key}"
            if column not in runs:
                return runs[:0]
            runs = runs[runs[column].map(params.plain) == params.plain(str(value))]
    return runs


def _pooled(model: str, number: int, idea: str, runs: DataFrame) -> Climbed:
    if runs.empty:
        return Climbed(model, number, idea, 0, {}, {})
    for tag in TAGS:
        if tag in runs:
            known = runs[tag].fillna("–")
            runs = runs[known == known.iloc[-1]]
    # Of a seed's runs the latest counts, number by number: a run whose training DVC had in its cache has no
    # training time, but an earlier one has it.
    runs = runs.groupby("params.seed", as_index=False).last()
    columns = {m: runs[c] for m in METRICS if (c := f"metrics.{model}.{m}") in runs}
    values = {m: float(column.mean()) for m, column in columns.items() if column.notna().any()}
    spreads = {m: float(column.std()) for m, column in columns.items() if column.notna().sum() > 1}
    return Climbed(model, number, idea, runs["params.seed"].nunique(), values, spreads)


def text(rungs: Sequence[Climbed]) -> str:
    """A table to print: a row for each rung."""
    head = ["model", "rung", "seeds", *METRICS, "idea"]
    rows = [head] + [
        [r.model, str(r.number), str(r.seeds), *(_cell(r, metric) for metric in METRICS), r.idea]
        for r in rungs
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cell(rung: Climbed, metric: str) -> str:
    if metric not in rung.values:
        return "–"
    spread = f" ± {rung.spreads[metric]:.2g}" if metric in rung.spreads else ""
    return f"{rung.values[metric]:.4g}{spread}"


def as_csv(rungs: Sequence[Climbed]) -> str:
    """The same table as CSV, with full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "rung", "seeds", *METRICS, *(f"{m}_sd" for m in METRICS), "idea"])
    for r in rungs:
        numbers = [of.get(m, "") for of in (r.values, r.spreads) for m in METRICS]
        writer.writerow([r.model, r.number, r.seeds, *numbers, r.idea])
    return out.getvalue()
