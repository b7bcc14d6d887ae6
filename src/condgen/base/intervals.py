"""Bootstrap intervals of means.

Percentile bootstrap: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. It resamples
images, pairs, blocks or noise vectors (`catalog.METRICS` says which) and holds everything else fixed: the
neighbourhoods of precision and recall, and above all the trained model. To see how training runs vary,
compare seeds (`condgen compare`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest, bootstrap

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Value:
    """A number, its 95 % interval (None where a bootstrap is not sound), and how many values it averages."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def mean(values: np.ndarray, seed: int = 0) -> Value:
    """The mean of independent values `[n]` with its interval; a single value has no interval.

    If all values are 0, or all are 1, resampling cannot vary them: the interval is Wilson's for a share of n
    (Wilson 1927), about 4 / n wide. Other constants get no interval.
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
        batch=100,  # resamples at once, for memory
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Value(value, float(interval.low), float(interval.high), n)


def share(p: float, n: int, seed: int = 0) -> Value:
    """A share p of n images with its interval: a bootstrap of n zeros and ones depends only on p and n."""
    hits = np.zeros(n)
    hits[: round(p * n)] = 1
    return mean(hits, seed)


def named(name: str, values: torch.Tensor) -> dict[str, float | list[float | None]]:
    """{name: mean, name_interval: [low, high]} of values `[n]`, for a metrics file."""
    value = mean(values.cpu().numpy())
    return {name: value.value, f"{name}_interval": [value.low, value.high]}
