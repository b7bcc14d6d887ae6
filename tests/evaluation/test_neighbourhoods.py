"""Precision, recall, density, coverage and the Vendi score: meaning and agreement with other packages."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from condgen.evaluation import metrics
from condgen.evaluation.neighbourhoods import count_neighbours

K = 5


def normal(seed, n, d, scale=1.0, shift=0.0):
    values = shift + scale * np.random.default_rng(seed).standard_normal((n, d))
    return torch.from_numpy(values.astype(np.float32))


def clusters(seed, *centres):
    return torch.cat([normal(seed, 150, 4, 0.2, centre) for centre in centres])


# name: (samples, real images)
SETS = {
    "one distribution": (normal(1, 500, 16), normal(2, 500, 16)),
    "shifted": (normal(3, 300, 8, shift=0.5), normal(4, 450, 8)),
    "tight": (normal(5, 400, 16, scale=0.3), normal(6, 300, 16)),
    "wide": (normal(7, 300, 16, scale=2), normal(8, 400, 16)),
    "two clusters of three": (clusters(9, 0, 3), clusters(10, 0, 3, 6)),
    "each sample four times": (normal(11, 60, 4).repeat_interleave(4, dim=0), normal(12, 200, 4)),
    "relu features": (normal(13, 700, 128, shift=0.2).relu(), normal(14, 600, 128, shift=0.2).relu()),
}
# Made by prdc 0.2 with scikit-learn 1.9.1: compute_prdc(real, samples, nearest_k=5) of the SETS above.
# (precision, recall, density, coverage)
PRDC = {
    "one distribution": (0.868, 0.864, 1.0704, 0.986),
    "shifted": (0.8633333333333333, 0.8377777777777777, 0.6806666666666668, 0.6777777777777778),
    "tight": (1.0, 0.0, 11.3725, 0.98),
    "wide": (0.03, 1.0, 0.007333333333333334, 0.0275),
    "two clusters of three": (0.9533333333333334, 0.6444444444444445, 0.9386666666666668, 0.6311111111111111),
    "each sample four times": (0.9333333333333333, 0.71, 0.9433333333333334, 0.78),
    "relu features": (0.6628571428571428, 0.6166666666666667, 1.190857142857143, 0.9833333333333333),
}

ROWS = {
    "more images than dimensions": normal(21, 100, 8),
    "more dimensions than images": normal(22, 30, 50),
    "relu features": normal(23, 200, 64, shift=0.2).relu(),
    "each image 20 times": normal(24, 5, 12).repeat_interleave(20, dim=0),
}
# Made by vendi-score 0.0.3: vendi.score_dual(rows as float64, normalize=True) of the ROWS above.
VENDI = {
    "more images than dimensions": 7.755677651062127,
    "more dimensions than images": 22.42338190460953,
    "relu features": 22.493088895452495,
    "each image 20 times": 4.478433813552594,
}


def values(samples, real):
    return {name: found.value for name, found in metrics.neighbourhoods(samples, real).items()}


@pytest.mark.parametrize("name", SETS)
def test_the_numbers_are_those_of_prdc(name):
    expected = dict(zip(("precision", "recall", "density", "coverage"), PRDC[name], strict=True))
    assert values(*SETS[name]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_precision_and_recall_are_those_of_torch_fidelity(name):
    # float64, because torch-fidelity takes distances from matrix products. It counts points on a ball's
    # surface as inside, which matters only for ties.
    samples, real = (x.double() for x in SETS[name])
    theirs = prc_features_to_metric(samples, real, prc_neighborhood=K, prc_batch_size=10_000, verbose=False)
    found = values(samples, real)
    assert found["precision"] == pytest.approx(theirs["precision"], rel=1e-6)
    assert found["recall"] == pytest.approx(theirs["recall"], rel=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_the_effective_number_is_that_of_vendi_score(name):
    assert metrics.effective_number(ROWS[name]) == pytest.approx(VENDI[name], rel=1e-9)


def test_a_set_compared_with_itself_scores_one_at_any_offset_and_scale():
    x = normal(31, 300, 8)
    for moved in (x, x + 1000, 1e-3 * x, 1e4 * x):
        # A ball holds its own centre and 4 neighbours; the 5th lies on its surface.
        assert values(moved, moved) == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}


def test_no_precision_is_lost_far_from_the_origin():
    # Differences of these numbers are exact in float32, products of them are not even in float64.
    grid = torch.from_numpy(np.random.default_rng(32).integers(0, 64, (2, 200, 3)) / 64.0).float()
    samples, real = grid
    assert values(samples + 2**16, real + 2**16) == values(samples, real)


def test_identical_samples_have_empty_balls():
    real = normal(33, 100, 8)
    same = real[:1].repeat(50, 1)  # more than k equal samples: their radius is 0
    balls, recalled, covered = count_neighbours(same, real, K)
    assert balls.unique().numel() == 1, "equal samples lie in the same balls"
    assert balls[0] >= 1
    assert not recalled.any()
    assert covered.sum() == balls[0], "only the images whose balls they lie in"


@pytest.mark.parametrize("name", SETS)
def test_neither_blocks_nor_the_order_of_rows_matter(name):
    samples, real = SETS[name]
    whole = count_neighbours(samples, real, K)
    for block in (7, 10_000):
        found = count_neighbours(samples, real, K, block)
        assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    g = torch.Generator().manual_seed(0)
    i, j = torch.randperm(len(samples), generator=g), torch.randperm(len(real), generator=g)
    balls, recalled, covered = count_neighbours(samples[i], real[j], K)
    assert torch.equal(balls, whole.balls[i])
    assert torch.equal(recalled, whole.recalled[j])
    assert torch.equal(covered, whole.covered[j])


def test_ties_are_counted_exactly():
    """On a small grid, where most distances are ties, the counts are those of integer arithmetic."""
    samples, real = np.random.default_rng(34).integers(0, 6, (2, 150, 3))
    squared = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(axis=2)  # noqa: E731
    radius = lambda a: np.sort(squared(a, a), axis=1)[:, K]  # noqa: E731
    distances = squared(real, samples)
    inside = distances < radius(real)[:, None]
    balls, recalled, covered = count_neighbours(torch.from_numpy(samples), torch.from_numpy(real), K)
    assert balls.tolist() == inside.sum(axis=0).tolist()
    assert recalled.tolist() == (distances < radius(samples)).any(axis=1).tolist()
    assert covered.tolist() == inside.any(axis=1).tolist()


def test_only_coverage_has_an_interval_and_all_have_their_n():
    """Those of recall, precision and density were too narrow, because their balls are drawn too."""
    found = metrics.neighbourhoods(*SETS["shifted"], right=torch.arange(300) < 200)
    assert {name for name, value in found.items() if value.low is not None} == {"coverage"}
    assert {name: value.n for name, value in found.items()} == {
        "precision": 300, "recall": 450, "density": 300, "coverage": 450, "precision_as_asked": 200,
    }  # fmt: skip


def test_memory_grows_with_a_block_not_with_all_pairs(root):
    """In its own process, to measure its own peak: 12,000 x 12,000 distances would be 1.2 GB."""
    script = """
import re, resource, torch
from condgen.evaluation.neighbourhoods import count_neighbours
x = torch.rand(12_000, 2, generator=torch.Generator().manual_seed(0))
def peak():
    try:  # getrusage's would be that of the process that started this one, if it was larger
        return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes
count_neighbours(x[:600], x[:600], 5)
before = peak()
count_neighbours(x, x[:2_000], 5)
print(peak() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
    )
    assert int(result.stdout) < 400e6
