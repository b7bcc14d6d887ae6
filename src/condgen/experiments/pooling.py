"""Finished runs -> one table: mean and spread over seeds, for every parameter that differs.

The runs are what `tracking.store.finished` returns: a row for each run, columns as `mlflow.search_runs` names
them (metrics.cgan.recall, params.seed, tags.code).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pandas import DataFrame

from condgen.base import params
from condgen.base.errors import UserError

SEED = "params.seed"
NAME = "tags.mlflow.runName"
PROCESSOR = "tags.processor"
NAMES_WIDTH = 40  # characters of the runs' names in a row of the table
# Runs that differ in one of these are never pooled, nor are runs with different parameters.
TAGS = ["tags.code", "tags.data", "tags.data.md5"]


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seeds only.

    Attributes:
        settings: parameter -> its value, for those that differ between rows.
        seeds: in order.
        runs: their names, the oldest first.
        processors: of the machines that made them, as far as it is known.
        values: metric -> (mean, sample standard deviation over seeds or None for one seed).
    """

    settings: dict[str, str]
    seeds: list[str]
    values: dict[str, tuple[float, float | None]]
    runs: list[str] = field(default_factory=list)
    processors: list[str] = field(default_factory=list)


def measured(runs: DataFrame) -> list[str]:
    """The metrics that at least one run has."""
    return sorted(_short(c) for c in runs if c.startswith("metrics.") and runs[c].notna().any())


def choose(names: Sequence[str], runs: DataFrame) -> list[str]:
    """Metrics in full: "recall" stands for cvae.recall and cgan.recall, as far as some run has them.

    Raises UserError for a name that no run has, with the names there are.
    """
    known, chosen = measured(runs), []
    for name in names:
        full = [m for m in ([name] if "." in name else [f"cvae.{name}", f"cgan.{name}"]) if m in known]
        if not full:
            raise UserError(f"no finished run has the metric {name}: there are {', '.join(known) or 'none'}")
        chosen += full
    return chosen


def group(runs: DataFrame, metrics: Sequence[str]) -> tuple[list[str], list[Row]]:
    """(parameters that differ, a row for each of their settings), from the runs that have all of the metrics.

    Of runs that are alike to the seed, the latest counts. Raises UserError where no run is left.
    """
    runs = runs[_values(runs, metrics).notna().all(axis=1)].sort_values("start_time")
    if runs.empty:
        raise UserError(f"no finished run has all of {', '.join(metrics)}: 'dvc repro' makes one")
    keys = sorted({*TAGS, *(c for c in runs if c.startswith("params."))} - {SEED}, key=_short)
    runs = runs.reindex(columns=runs.columns.union([*TAGS, SEED, NAME, PROCESSOR]))
    runs[NAME] = runs[NAME].astype(object).fillna("–")
    runs[[*keys, SEED]] = runs[[*keys, SEED]].astype(object).fillna("–")
    for key in keys:
        if key not in TAGS:
            runs[key] = runs[key].map(lambda text: str(params.plain(text)))
    runs = runs.drop_duplicates([*keys, SEED], keep="last")
    differing = [key for key in keys if runs[key].nunique() > 1]
    rows = []
    for setting, alike in runs.groupby(keys, sort=False):
        settings = {_short(k): value for k, value in zip(keys, setting, strict=True) if k in differing}
        columns = {metric: alike[f"metrics.{metric}"] for metric in metrics}
        several = len(alike) > 1
        values = {m: (float(c.mean()), float(c.std()) if several else None) for m, c in columns.items()}
        processors = sorted(alike[PROCESSOR].dropna().unique())
        rows.append(Row(settings, sorted(alike[SEED]), values, list(alike[NAME]), processors))
    return [_short(key) for key in differing], rows


def left_out(runs: DataFrame, metrics: Sequence[str]) -> str:
    """A line about the finished runs that `group` leaves out; empty where there are none."""
    lacking = _values(runs, metrics).isna()
    out = runs[lacking.any(axis=1)]
    if out.empty:
        return ""
    names = ", ".join(metric for metric in metrics if lacking[f"metrics.{metric}"].any())
    return f"left out, because they lack {names}: {', '.join(out['tags.mlflow.runName'])}"


def mixed(rows: Sequence[Row]) -> str:
    """A line where the rows' runs are of more than one processor; empty where they are not."""
    found = sorted({processor for row in rows for processor in row.processors})
    if len(found) < 2:
        return ""
    several = sum(len(row.processors) > 1 for row in rows)
    return (
        f"{len(found)} processors made these runs ({', '.join(found)}; in {several} of {len(rows)} rows more "
        "than one): they round differently, so the same parameters and seed give other numbers on each"
    )


def _values(runs: DataFrame, metrics: Sequence[str]) -> DataFrame:
    return runs.reindex(columns=[f"metrics.{metric}" for metric in metrics])


def _short(column: str) -> str:
    return column.split(".", 1)[1]


def text(differing: Sequence[str], rows: Sequence[Row]) -> str:
    """The table for a terminal: "mean ± standard deviation", aligned."""
    metrics = list(rows[0].values)
    table = [[*differing, "seeds", *metrics, "runs"]]
    for row in rows:
        cells = [_cell(*row.values[metric]) for metric in metrics]
        table.append([*row.settings.values(), str(len(row.seeds)), *cells, _names(row.runs)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table
    )


def _names(runs: Sequence[str]) -> str:
    """The names that fit into a row, each once, and how many more runs there are."""
    shown, told = "", 0
    for name, times in Counter(runs).items():
        more = f"{', ' if shown else ''}{name}" + (f" (x{times})" if times > 1 else "")
        if shown and len(shown + more) > NAMES_WIDTH:
            break
        shown, told = shown + more, told + times
    return shown + (f" and {len(runs) - told} more" if told < len(runs) else "")


def _cell(value: float, spread: float | None) -> str:
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def as_csv(rows: Sequence[Row]) -> str:
    """The same as CSV, with a column for mean, standard deviation and number of seeds of each metric."""
    table: list[dict[str, Any]] = [
        dict(row.settings)
        | {"seeds": len(row.seeds)}
        | {f"{metric}_mean": mean for metric, (mean, _) in row.values.items()}
        | {f"{metric}_sd": spread for metric, (_, spread) in row.values.items()}
        | {"runs": " ".join(row.runs), "processors": ", ".join(row.processors)}
        for row in rows
    ]
    return DataFrame(table).to_csv(index=False, lineterminator="\n")
