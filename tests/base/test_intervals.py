"""Intervals are those of textbooks; tests/evaluation/test_coverage.py simulates how often they hold."""

import numpy as np
import pytest
from scipy import stats

from condgen.base import intervals


def test_an_interval_is_as_wide_as_theory_says_and_always_the_same():
    x = np.random.default_rng(1).normal(size=10_000)
    value = intervals.mean(x)
    assert value.high - value.low == pytest.approx(2 * 1.96 / 100, rel=0.1)
    assert value == intervals.mean(x)
    assert value.n == 10_000


def test_a_share_is_the_mean_of_zeros_and_ones():
    hits = np.random.default_rng(2).random(1000) < 0.3
    assert intervals.share(hits.mean(), 1000) == intervals.mean(hits)


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0], [0.0]])
def test_a_single_value_or_equal_values_have_no_interval(values):
    value = intervals.mean(np.array(values))
    assert (value.low, value.value, value.high) == (None, values[0], None)


def test_all_zeros_and_all_ones_have_a_wilson_interval():
    none, all_of_them = intervals.mean(np.zeros(100)), intervals.mean(np.ones(100))
    assert none.low == pytest.approx(0, abs=1e-9)
    assert 0.03 < none.high < 0.04  # Wilson: z^2 / (n + z^2)
    assert all_of_them.low == pytest.approx(1 - none.high)


def test_few_values_have_students_interval_and_not_a_bootstraps():
    values = np.random.default_rng(3).normal(size=10)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = intervals.mean(values)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert intervals.student(values.mean(), values.std(ddof=1), 10) == pytest.approx(tuple(expected))


def test_what_differs_between_classes_of_fixed_numbers_does_not_widen_the_interval():
    labels = np.arange(200) % 4
    values = np.random.default_rng(4).normal(size=200)
    plain, shifted = intervals.mean(values, labels), intervals.mean(values + 100 * labels, labels)
    assert shifted.value == pytest.approx(plain.value + 150)
    assert shifted.high - shifted.low == pytest.approx(plain.high - plain.low)
    assert intervals.mean(np.array([1.0, 2.0, 4.0]), np.array([5, 6, 7])).low is None, "one value a class"
