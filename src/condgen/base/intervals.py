"""95 % intervals of means (Student's t) and of shares (Wilson 1927).

They are of independent values: images, pairs, blocks, noise vectors or training runs (`catalog.METRICS` says
which, and what is taken as given). Those of one training run say nothing about another one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest
from scipy.stats import t as student_t

LEVEL = 0.95


@dataclass(frozen=True)
class Value:
    """A number, its 95 % interval (None where there is no sound one), and how many values it averages."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def student(mean: float, spread: float, n: int, strata: int = 1) -> tuple[float, float]:
    """Student's interval of a mean of n values; spread: their standard deviation, within the strata."""
    half = float(student_t.ppf((1 + LEVEL) / 2, n - strata)) * spread / n**0.5
    return mean - half, mean + half


def mean(values: np.ndarray, strata: np.ndarray | None = None) -> Value:
    """The mean of independent values `[n]` with its interval; none for a single value, or equal ones.

    strata `[n]`: the values' classes, where there are fixed numbers of each: only what varies within a class
    then varies the mean (Cochran 1977, "Sampling Techniques", chapter 5). Zeros and ones are a share.
    """
    values = np.asarray(values, dtype=np.float64)
    n, value = len(values), float(values.mean())
    if n > 1 and np.isin(values, (0, 1)).all():
        return share(value, n)
    groups = np.zeros(n, dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
    sizes = np.bincount(groups)
    if n == len(sizes) or np.ptp(values) == 0:
        return Value(value, n=n)
    within = values - (np.bincount(groups, values) / sizes)[groups]
    spread = float(np.sqrt((within**2).sum() / (n - len(sizes))))
    return Value(value, *student(value, spread, n, len(sizes)), n)


def share(p: float, n: int) -> Value:
    """A share p of n independent values with Wilson's interval; none for a single value."""
    if n < 2:
        return Value(p, n=n)
    wilson = binomtest(round(p * n), n).proportion_ci(LEVEL, method="wilson")
    return Value(p, float(wilson.low), float(wilson.high), n)


def named(name: str, values: torch.Tensor) -> dict[str, float | list[float | None]]:
    """{name: mean, name_interval: [low, high]} of values `[n]`, for a metrics file."""
    value = mean(values.cpu().numpy())
    return {name: value.value, f"{name}_interval": [value.low, value.high]}
