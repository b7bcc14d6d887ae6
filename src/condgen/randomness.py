"""Every random number of the project starts here."""

import hashlib
import math

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
    whole random number a unit, which on a CPU takes many times as long as the byte that is drawn here.
    """
    keep = 256 - round(256 * rate)
    if generator.device.type == "cpu":
        count = math.prod(shape)
        words = torch.empty(-(-count // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator)  # all 64 bits
        kept = (words.view(torch.uint8)[:count] <= keep - 1).view(shape)
        kept = kept.view(torch.uint8)  # PyTorch converts bytes to floats 4 times as fast as bools
    else:
        # Accelerators draw in parallel anyway, and not all of them can draw 64 bits at once.
        kept = torch.rand(shape, generator=generator, device=generator.device) < keep / 256
    return kept.float().mul_(256 / keep)
