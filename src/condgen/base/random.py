"""Every random number of the project starts here."""

import hashlib
import math

import numpy as np
import torch


def generator(seed: int, stream: str, epoch: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator whose numbers depend on nothing but its arguments.

    Streams ("cgan/shuffle", "cgan/noise") are independent of one another, and so are epochs: nothing
    random has to be saved to resume training, and drawing more from one stream moves no other.
    CPU and GPU generators give different numbers.
    """
    # A hash, not seed + epoch: seed 0's epoch 1 must not be seed 1's epoch 0.
    digest = hashlib.sha256(f"{seed}/{stream}/{epoch}".encode()).digest()
    # 32 bits, because PyTorch's CPU generator (mt19937) is initialised from that many.
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def dropout_mask(rate: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Factors for inverted dropout: 0 with probability `rate`, else 1 / (1 - rate); float32.

    Srivastava et al. 2014, "Dropout", scaled in training as usual. `rate` is rounded to a multiple of 1/256
    (0.5 is exact). On the generator's device. torch.nn.functional.dropout takes no generator, and draws a
    whole random number a unit; here, on a CPU, it is as many bits as the rate has binary digits: one for 0.5.
    """
    keep = 256 - round(256 * rate)
    if generator.device.type == "cpu":
        kept = _bernoulli(keep, math.prod(shape), generator).view(shape).float()
    else:
        # Accelerators draw in parallel anyway, and not all of them can draw 64 bits at once.
        kept = (torch.rand(shape, generator=generator, device=generator.device) < keep / 256).float()
    return kept.mul_(256 / keep)


def _bernoulli(share: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """`[count]`, uint8: each 1 with probability share / 256, else 0. `share` from 1 to 256.

    64 at once. With p the probability so far, "or" with a fair bit makes it (1 + p) / 2 and "and" makes it
    p / 2: from its last binary digit on, each digit of the share is put before those after it.
    """
    if share == 256:
        return torch.ones(count, dtype=torch.uint8)
    digits = f"{share:08b}".rstrip("0")
    words = torch.zeros(-(-count // 64), dtype=torch.int64)
    for digit in reversed(digits):
        fair = torch.empty_like(words).random_(-(2**63), None, generator=generator)  # all 64 bits
        words = words | fair if digit == "1" else words & fair
    return torch.from_numpy(np.unpackbits(words.numpy().view(np.uint8), count=count))
