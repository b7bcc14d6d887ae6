"""The Parzen-window log-likelihood of test images under a set of samples, by the published protocol.

Goodfellow et al. 2014, "Generative Adversarial Nets", section 5, and Mirza & Osindero 2014, "Conditional
Generative Adversarial Nets", table 1: a Gaussian around each of 10,000 samples, its width chosen on
validation images, mean +- standard error over the test images, in nats. Theis et al. 2016, "A note on the
evaluation of generative models", show how little it says about visual quality; it is computed for comparison
with published values.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from condgen.base import intervals
from condgen.base.intervals import Value

SIGMAS = np.logspace(-1, 0, 20).tolist()  # widths tried, in units of the grey range
BLOCK = 250  # rows of the distance matrix in memory at once
VALIDATION = 1000  # validation images used to choose the width
PUBLISHED = [
    ("Deep belief net (as cited by Mirza & Osindero 2014)", 138.0, 2.0),
    ("GAN (Goodfellow et al. 2014)", 225.0, 2.0),
    ("Conditional GAN (Mirza & Osindero 2014)", 132.0, 1.8),
]
"""(model, mean, standard error) of table 1 in Mirza & Osindero 2014, nats."""


def parzen(samples: Tensor, validation: Tensor, test: Tensor) -> tuple[Value, float, float]:
    """(mean log-likelihood of test with its interval, its standard error, the width chosen); nats.

    samples `[n, d]`, validation `[v, d]`, test `[t, d]`, in [0, 1].
    """
    by_width = log_density(samples, validation[:VALIDATION], SIGMAS).mean(dim=1)
    sigma = SIGMAS[int(by_width.argmax())]
    values = log_density(samples, test, [sigma])[0].numpy()
    return intervals.mean(values), float(values.std(ddof=1) / math.sqrt(len(values))), sigma


def log_density(samples: Tensor, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """log of 1/n sum_i N(x; samples_i, sigma^2 I) for each sigma and row of x `[t, d]` -> `[s, t]`; nats.

    float64. Distances are the same for all widths, so they are computed once.
    """
    n, d = samples.shape
    samples, x = samples.cpu(), x.cpu()  # not every accelerator has float64
    found = torch.empty(len(sigmas), len(x), dtype=torch.float64)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        squared = torch.cdist(x[rows], samples).double().square_()
        for row, sigma in zip(found, sigmas, strict=True):
            constant = math.log(n) + d * math.log(sigma * math.sqrt(2 * math.pi))
            row[rows] = torch.logsumexp(squared / (-2 * sigma**2), dim=1) - constant
    return found
