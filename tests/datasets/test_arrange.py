"""The held-out share and the order: each class has its share of the test part and of every prefix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen.datasets import arrange

counts = st.lists(st.integers(1, 40), min_size=2, max_size=8)


def labels_of(counts):
    return np.repeat(np.arange(len(counts)), counts).astype(np.uint8)


@pytest.mark.parametrize(("n", "test"), [(1, 0), (2, 1), (3, 1), (5, 1), (10, 2), (13, 3), (100, 20)])
def test_a_fifth_of_each_class_is_held_out_and_one_stays_to_train(n, test):
    y = labels_of([50, n])
    train, held = arrange.hold_out(y, 0.2)
    assert np.bincount(y[held], minlength=2).tolist() == [10, test]
    assert np.bincount(y[train], minlength=2).tolist() == [40, n - test]


@given(counts, st.floats(0.01, 0.5))
def test_no_image_is_in_both_parts_and_none_is_lost(counts, share):
    y = labels_of(counts)
    train, held = arrange.hold_out(y, share)
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(len(y)))
    assert np.bincount(y[train], minlength=len(counts)).min() >= 1


def test_the_held_out_images_are_not_the_first_or_the_last_of_their_class():
    _, held = arrange.hold_out(labels_of([100, 100]), 0.2)
    mine = np.sort(held[held < 100])
    assert mine.tolist() not in (list(range(20)), list(range(80, 100)))
    assert not np.array_equal(mine, np.sort(held[held >= 100]) - 100), "each class has its own choice"


@given(counts)
def test_every_prefix_is_stratified(counts):
    y = labels_of(counts)
    order = arrange.order(y)
    assert np.array_equal(np.sort(order), np.arange(len(y)))
    one_hot = np.eye(len(counts))[y[order]]
    share = np.array(counts) / len(y)
    expected = np.arange(1, len(y) + 1)[:, None] * share
    # Up to place t there are t n_c of each class, rounded; so t itself is off by half the number of classes.
    assert (np.abs(one_hot.cumsum(axis=0) - expected) <= 1 + len(counts) / 2 * share + 1e-9).all()


def test_the_first_tenth_of_balanced_classes_is_balanced():
    y = labels_of([40] * 10)
    assert np.bincount(y[arrange.order(y)][:40]).tolist() == [4] * 10


def test_ties_and_classes_are_shuffled_the_same_way_each_time():
    y = labels_of([40] * 10)
    order = arrange.order(y)
    assert np.array_equal(order, arrange.order(y))
    rounds = y[order].reshape(40, 10)
    assert len({tuple(row) for row in rounds}) > 30, "classes do not follow each other in one order"
    assert not np.array_equal(order[y[order] == 0], np.arange(40)), "nor do the images of a class"
