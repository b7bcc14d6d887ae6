"""Intervals have the coverage they state, and are deterministic."""

import numpy as np
import pytest

from condgen.base import intervals


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        value = intervals.mean(rng.exponential(size=200))
        covered += value.low <= 1 <= value.high
    # 95 of 100, give or take three standard deviations of 2.2.
    assert 88 <= covered <= 100


def test_an_interval_is_as_wide_as_theory_says_and_always_the_same():
    x = np.random.default_rng(1).normal(size=10_000)
    value = intervals.mean(x)
    assert value.high - value.low == pytest.approx(2 * 1.96 / 100, rel=0.1)
    assert value == intervals.mean(x)
    assert value.n == 10_000


def test_a_share_is_the_mean_of_zeros_and_ones():
    hits = np.random.default_rng(2).random(1000) < 0.3
    a, b = intervals.share(hits.mean(), 1000), intervals.mean(hits)
    assert a.value == pytest.approx(b.value)
    assert (a.low, a.high) == (pytest.approx(b.low, abs=0.01), pytest.approx(b.high, abs=0.01))


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0], [0.0]])
def test_a_single_value_or_equal_values_have_no_interval(values):
    value = intervals.mean(np.array(values))
    assert (value.low, value.value, value.high) == (None, values[0], None)


def test_all_zeros_and_all_ones_have_a_wilson_interval():
    none, all_of_them = intervals.mean(np.zeros(100)), intervals.mean(np.ones(100))
    assert none.low == pytest.approx(0, abs=1e-9)
    assert 0.03 < none.high < 0.04  # Wilson: z^2 / (n + z^2)
    assert all_of_them.low == pytest.approx(1 - none.high)
