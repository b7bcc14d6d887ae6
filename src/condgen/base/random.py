"""Makes all random generators of the project."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, stream: str, epoch: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator whose numbers depend only on the arguments.

    Streams ("cgan/shuffle", "cgan/noise") and epochs are independent of one another: no random state has to
    be saved to resume training, and drawing more from one stream does not change another.
    CPU and GPU generators give different numbers.
    """
    # A hash, not seed + epoch: seed 0's epoch 1 must differ from seed 1's epoch 0.
    digest = hashlib.sha256(f"{seed}/{stream}/{epoch}".encode()).digest()
    # PyTorch's CPU generator (mt19937) uses 32 bits of a seed.
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """For library code that takes no generator: seeds PyTorch's own one, and restores the CPU's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, stream).initial_seed())
        yield


def dropout_mask(rate: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Factors for inverted dropout: 0 with probability `rate`, else 1 / (1 - rate); float32.

    Srivastava et al. 2014, "Dropout", scaled during training. `rate` is rounded to a multiple of 1/256 (0.5
    is exact). The mask is on the generator's device. torch.nn.functional.dropout takes no generator and draws
    a random float per unit; on a CPU this draws one bit per binary digit of the rate: a single bit for 0.5.
    """
    keep = 256 - round(256 * rate)
    if generator.device.type == "cpu":
        kept = _bernoulli(keep, math.prod(shape), generator).view(shape).float()
    else:
        # Accelerators draw in parallel anyway, and some cannot draw 64-bit integers.
        kept = (torch.rand(shape, generator=generator, device=generator.device) < keep / 256).float()
    return kept.mul_(256 / keep)


def _bernoulli(share: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """`[count]`, uint8: each 1 with probability share / 256, else 0. `share` from 1 to 256.

    64 bits at once. If a bit is 1 with probability p, "or" with a fair bit makes it (1 + p) / 2, and "and"
    makes it p / 2: either puts one binary digit in front of those of p. So the digits of the share are
    taken from the last to the first.
    """
    if share == 256:
        return torch.ones(count, dtype=torch.uint8)
    digits = f"{share:08b}".rstrip("0")
    words = torch.zeros(-(-count // 64), dtype=torch.int64)
    for digit in reversed(digits):
        fair = torch.empty_like(words).random_(-(2**63), None, generator=generator)  # all 64 bits
        words = words | fair if digit == "1" else words & fair
    return torch.from_numpy(np.unpackbits(words.numpy().view(np.uint8), count=count))
