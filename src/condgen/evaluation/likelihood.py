"""The Parzen-window log-likelihood of test images under a set of samples, with the published protocol.

Goodfellow et al. 2014, "Generative Adversarial Nets", section 5, and Mirza & Osindero 2014, "Conditional
Generative Adversarial Nets", table 1: a Gaussian around each of 10,000 samples, its width chosen on
validation images, mean +- standard error over the test images, in nats. Theis et al. 2016, "A note on the
evaluation of generative models", show how little it says of visual quality; it is here because the
published rows are.
"""

import math

import numpy as np
import torch
from torch import Tensor

from condgen.base import intervals
from condgen.base.intervals import Value

SIGMAS = np.logspace(-1, 0, 20)  # widths tried, in units of the grey range
VALIDATION = 1000  # validation images that choose the width
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
    some = validation[:VALIDATION]
    sigma = float(max(SIGMAS, key=lambda s: float(log_density(samples, some, s).mean())))
    values = log_density(samples, test, sigma).numpy()
    return intervals.mean(values), float(values.std(ddof=1) / math.sqrt(len(values))), sigma


def log_density(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """log of 1/n sum_i N(x; samples_i, sigma^2 I) for each row of x `[t, d]` -> `[t]`, float64, nats."""
    n, d = samples.shape
    constant = math.log(n) + d * math.log(sigma * math.sqrt(2 * math.pi))
    parts = []
    samples, x = samples.cpu(), x.cpu()  # float64, which not every accelerator has
    for part in x.split(500):  # bounds memory: [500, n] at a time
        squared = torch.cdist(part, samples).double().square()
        parts.append(torch.logsumexp(-squared / (2 * sigma**2), dim=1) - constant)
    return torch.cat(parts)
