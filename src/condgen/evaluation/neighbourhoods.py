"""Counts for precision, recall, density and coverage, by balls that reach a point's k-th nearest neighbour.

X are real points, Y are samples, NN_k(x) is the distance from x to its k-th nearest neighbour within its own
set, x itself not counted.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", equations
(1) and (2):

    precision = 1/m sum_j 1[y_j lies in the ball of at least one x_i]
    recall    = 1/n sum_i 1[x_i lies in the ball of at least one y_j]

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", section 3:

    density   = 1/(k m) sum_j sum_i 1[y_j lies in the ball of x_i]
    coverage  = 1/n sum_i 1[at least one y_j lies in the ball of x_i]

The first paper counts a ball's surface as inside; the second paper's code does not, nor does this code.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 250  # rows of a distance matrix in memory at once


class Neighbours(NamedTuple):
    """The values that the metrics average: precision is the mean of `balls > 0`, density of `balls / k`."""

    balls: Tensor
    """How many balls of real points each sample lies in: int64 `[m]`."""
    recalled: Tensor
    """Which real points lie in the ball of a sample: bool `[n]`."""
    covered: Tensor
    """Which real points have a sample in their ball: bool `[n]`."""


def count_neighbours(samples: Tensor, real: Tensor, k: int, block: int = BLOCK) -> Neighbours:
    """The Neighbours of samples `[m, d]` among real points `[n, d]`; both need more than k rows.

    Memory: a few matrices of `block` rows and max(m, n) columns.
    """
    # Centred, because products lose fewer digits close to the origin. Not every accelerator has float64.
    samples, real = samples.cpu().double(), real.cpu().double()
    centre = real.mean(dim=0)
    samples, real = samples - centre, real - centre
    sample_radii, real_radii = (_squared_radii(x, k, block) for x in (samples, real))
    balls = torch.zeros(len(samples), dtype=torch.int64)
    recalled, covered = torch.empty(2, len(real), dtype=torch.bool)
    for rows in _blocks(len(real), block):
        distances = _squared_distances(real[rows], samples)
        inside = distances < real_radii[rows, None]
        balls += inside.sum(dim=0)
        covered[rows] = inside.any(dim=1)
        recalled[rows] = (distances < sample_radii).any(dim=1)
    return Neighbours(balls, recalled, covered)


def _squared_radii(x: Tensor, k: int, block: int) -> Tensor:
    """NN_k(x)^2 of every row of x, float32 `[n]`."""
    radii = torch.empty(len(x))
    for rows in _blocks(len(x), block):
        nearest = _squared_distances(x[rows], x).topk(k + 1, largest=False).values
        radii[rows] = nearest[:, k]  # 0 is the point itself
    return radii


def _blocks(n: int, block: int) -> list[slice]:
    # Slices of one result, not a list of small tensors, which would stay between the large ones that are
    # freed, and fragment the heap (1.3 GB for 20,000 points).
    return [slice(start, start + block) for start in range(0, n, block)]


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2 of float64 rows, as float32 `[rows of a, rows of b]`.

    |a|^2 + |b|^2 - 2 a.b takes a quarter of the time of differences, and its error in float64 is about 1e-15
    of |a|^2 + |b|^2. Less than 1e-12 |a|^2 is set to 0, so that the distance of equal points is 0. Rounded to
    float32, a distance does not depend on which of the two points comes first, or on the block.
    """
    norms = a.square().sum(dim=1)[:, None]
    squared = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2).add_(norms)
    return squared.masked_fill_(squared < 1e-12 * norms, 0).float()
