"""Bootstrap intervals: how far a mean would move had other values been drawn that it is the mean of.

Percentile bootstrap: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. It covers what
is resampled (images, pairs, blocks, noise vectors: `metrics.METRICS` says which) and holds everything else
fixed: the neighbourhoods of precision and recall, and above all the trained model. For another training
run, seeds have to be compared (`python -m condgen compare`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest, bootstrap

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Value:
    """A number, its 95 % interval (None where no bootstrap is sound), and what it was averaged over."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def mean(values: np.ndarray, seed: int = 0) -> Value:
    """The mean of independent values `[n]` with its interval; none for a single value.

    Where all values are 0, or all are 1, resampling never finds another: the interval is Wilson's for a
    share of n (Wilson 1927), whose far end is about 4 / n. Other constants get no interval.
    """
    values = np.asarray(values, dtype=np.float64)
    n, value = len(values), float(values.mean())
    if np.ptp(values) == 0:
        if n < 2 or value not in (0, 1):
            return Value(value, n=n)
        wilson = binomtest(round(value * n), n).proportion_ci(LEVEL, method="wilson")
        return Value(value, float(wilson.low), float(wilson.high), n)
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=DRAWS,
        confidence_level=LEVEL,
        method="percentile",
        batch=100,  # bounds memory: 100 resamples at a time
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Value(value, float(interval.low), float(interval.high), n)


def share(p: float, n: int, seed: int = 0) -> Value:
    """The interval of a share p of n images: a bootstrap of n zeros and ones depends on p and n only."""
    hits = np.zeros(n)
    hits[: round(p * n)] = 1
    return mean(hits, seed)


def named(name: str, values: torch.Tensor) -> dict[str, float | list[float | None]]:
    """{name: mean, name_interval: [low, high]} of values `[n]`, for a metrics file."""
    value = mean(values.cpu().numpy())
    return {name: value.value, f"{name}_interval": [value.low, value.high]}
