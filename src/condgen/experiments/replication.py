"""Do the article's claims hold over training runs? Judged as in the report, by intervals over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from pandas import DataFrame

from condgen.base.intervals import student
from condgen.evaluation import claims
from condgen.experiments.pooling import Row, group, measured

METRICS = sorted(
    {f"{name}.{c.metric}" for a in claims.CLAIMS for c in a.comparisons for name in (c.left, c.right)}
    | {"real.class_accuracy", *(f"{name}.{claims.EPOCHS}" for name in ("cvae", "cgan"))}
)
"""What the claims are tested by, with the set of images: cvae.coverage; and whether to test them at all."""


def intervals(row: Row) -> dict[str, dict[str, claims.Interval]]:
    """Set -> metric -> 95 % interval of its mean over training runs (Student's t), None for one seed.

    It covers what differs from run to run, the choice of drawn images with it; those of a single run's report
    cover images only. Test digits and classifier are given: what never differed is a point.
    """
    n = len(row.seeds)
    return _by_set(
        {
            key: None if spread is None else student(value, spread, n)
            for key, (value, spread) in row.values.items()
        }
    )


def judge(row: Row) -> list[dict]:
    """The article's claims, judged by `intervals`."""
    return claims.judge(intervals(row), _by_set({key: mean for key, (mean, _) in row.values.items()}))


def _by_set(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"cvae.recall": 1} -> {"cvae": {"recall": 1}, "cgan": {}, "real": {}}."""
    found: dict[str, dict[str, Any]] = {name: {} for name in ("cvae", "cgan", "real")}
    for key, value in values.items():
        name, metric = key.split(".", 1)
        found[name][metric] = value
    return found


def metrics(runs: DataFrame) -> list[str]:
    """Those of METRICS that some run has: a short training lacks some."""
    return [metric for metric in METRICS if metric in measured(runs)]


def rows(runs: DataFrame) -> list[Row]:
    """A row for each setting, with its `metrics`."""
    return group(runs, metrics(runs))[1]


def verdicts(rows: Sequence[Row]) -> str:
    """The article's claims for each setting, judged as in the report, by intervals over seeds."""
    lines = []
    for row in rows:
        setting = "".join(f"{key}={value}, " for key, value in row.settings.items())
        n = len(row.seeds)
        if n == 1:
            lines.append(f"{setting}one seed: no interval over seeds, so nothing can be told")
            continue
        lines.append(f"{setting}{n} seeds, 95 % intervals of the mean over seeds:")
        ranges = intervals(row)
        for judged in judge(row):
            why = f" ({judged['reason']})" if judged["reason"] else ""
            lines.append(f"  {judged['claim']} {judged['verdict']}{why}")
            for c in judged["comparisons"]:
                below, above = (_cell(ranges, c[side], c["metric"]) for side in ("below", "above"))
                lines.append(f"    {c['metric']}: {below} < {above}: {c['outcome']}")
    return "\n".join(lines)


def _cell(ranges: Mapping[str, Mapping[str, claims.Interval]], name: str, metric: str) -> str:
    interval = ranges[name].get(metric)
    return f"{name} [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else f"{name} (unmeasured)"
