"""Finished runs -> one table: mean and spread over seeds, for every parameter that differs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from condgen.base.errors import UserError

# Seeds repeat an experiment; they do not make another one.
SEEDS = {"seed"}


@dataclass(frozen=True)
class Finished:
    """A finished pipeline run.

    Attributes:
        name: of the DVC experiment, or branch@commit.
        started: milliseconds; of runs that are alike to the seed, the latest counts.
        params: dotted name -> value as text, all of params.yaml, `data` and `code`.
        metrics: dotted name -> value.
    """

    name: str
    started: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seeds only."""

    settings: dict[str, str]
    seeds: list[str]
    values: dict[str, tuple[float, float | None]]
    """metric -> (mean, sample standard deviation over seeds or None for one seed)."""


def choose(names: Sequence[str], runs: Sequence[Finished]) -> list[str]:
    """Metrics in full: "recall" stands for cvae.recall and cgan.recall, as far as some run has them.

    Raises UserError for a name that no run has, with the names there are.
    """
    known = sorted(set().union(*(run.metrics for run in runs)))
    chosen = []
    for name in names:
        full = [m for m in ([name] if "." in name else [f"cvae.{name}", f"cgan.{name}"]) if m in known]
        if not full:
            raise UserError(f"no finished run has the metric {name}: there are {', '.join(known) or 'none'}")
        chosen += full
    return chosen


def group(runs: Sequence[Finished], metrics: Sequence[str]) -> tuple[list[str], list[Row]]:
    """(parameters that differ, a row for each of their settings). Raises UserError where no run fits."""
    runs = [run for run in runs if all(metric in run.metrics for metric in metrics)]
    if not runs:
        raise UserError(f"no finished run has all of {', '.join(metrics)}: 'dvc repro' makes one")
    keys = sorted(set().union(*(run.params for run in runs)) - SEEDS)
    differing = [key for key in keys if len({run.params.get(key) for run in runs}) > 1]
    groups: dict[tuple, dict[str, Finished]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        setting = tuple(run.params.get(key, "–") for key in differing)
        groups.setdefault(setting, {})[run.params.get("seed", "?")] = run
    rows = []
    for setting, by_seed in groups.items():
        values = {}
        for metric in metrics:
            numbers = [run.metrics[metric] for run in by_seed.values()]
            values[metric] = (mean(numbers), stdev(numbers) if len(numbers) > 1 else None)
        rows.append(Row(dict(zip(differing, setting, strict=True)), sorted(by_seed), values))
    return differing, rows


def text(differing: Sequence[str], rows: Sequence[Row]) -> str:
    """The table for a terminal: "mean ± standard deviation", aligned."""
    metrics = list(rows[0].values)
    table = [[*differing, "seeds", *metrics]]
    for row in rows:
        cells = [_cell(*row.values[metric]) for metric in metrics]
        table.append([*row.settings.values(), str(len(row.seeds)), *cells])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table
    )


def _cell(value: float, spread: float | None) -> str:
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def as_csv(rows: Sequence[Row]) -> str:
    """The same with a column for mean, standard deviation and number of seeds of each metric."""
    out = io.StringIO()
    flat: list[dict[str, Any]] = [
        row.settings
        | {"seeds": len(row.seeds)}
        | {f"{m}_mean": v for m, (v, _) in row.values.items()}
        | {f"{m}_sd": "" if s is None else s for m, (_, s) in row.values.items()}
        for row in rows
    ]
    writer = csv.DictWriter(out, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()
