"""Do the article's claims hold over training runs? Judged as in the report, by intervals over seeds."""

from collections.abc import Mapping, Sequence

from pandas import DataFrame
from scipy.stats import t as student

from condgen.evaluation import claims
from condgen.experiments.pooling import Row, group, measured

METRICS = sorted(
    {f"{name}.{c.metric}" for a in claims.CLAIMS for c in a.comparisons for name in (c.left, c.right)}
)
"""What the claims are tested by, with the set of images: cvae.recall."""


def intervals(row: Row) -> dict[str, dict[str, claims.Interval]]:
    """Set -> metric -> 95 % interval of its mean over training runs (Student's t), None for one seed.

    It covers what differs from run to run, the choice of drawn images with it; those of a single run's report
    cover images only. Test digits and classifier are given: what never differed is a point.
    """
    found: dict[str, dict[str, claims.Interval]] = {name: {} for name in ("cvae", "cgan", "real")}
    n = len(row.seeds)
    for metric, (value, spread) in row.values.items():
        name, key = metric.split(".", 1)
        found[name][key] = interval(value, spread, n)
    return found


def interval(mean: float, spread: float | None, n: int) -> claims.Interval:
    """95 % interval (Student's t) of a mean of n values, spread: their sample standard deviation, or None."""
    if spread is None:
        return None
    half = float(student.ppf(0.975, n - 1)) * spread / n**0.5
    return mean - half, mean + half


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
        for judged in claims.judge(ranges):
            why = f" ({judged['reason']})" if judged["reason"] else ""
            lines.append(f"  {judged['claim']} {judged['verdict']}{why}")
            for c in judged["comparisons"]:
                below, above = (_cell(ranges, c[side], c["metric"]) for side in ("below", "above"))
                lines.append(f"    {c['metric']}: {below} < {above}: {c['outcome']}")
    return "\n".join(lines)


def _cell(ranges: Mapping[str, Mapping[str, claims.Interval]], name: str, metric: str) -> str:
    interval = ranges[name].get(metric)
    return f"{name} [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else f"{name} (unmeasured)"
