"""The history of a training: pictures of the same noise and labels after every epoch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condgen.base import files
from condgen.base.random import generator
from condgen.datasets import data

VARIANTS = 10  # pictures of each digit in the history: a 10 x 10 grid


def fixed_noise(seed: int, latent_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The (z, labels) that are drawn after every epoch: ten of each digit, digit after digit.

    z: `[100, latent_dim]` from N(0, I). labels: `[100]`, int64.
    """
    z = torch.randn(data.CLASSES * VARIANTS, latent_dim, generator=generator(seed, "history"))
    return z.to(device), data.every_class(VARIANTS, device)


def write_history(path: str | Path, pictures: Sequence[np.ndarray]) -> None:
    """Writes data/history/*.npz: epochs `[e]` from 1, images `[e, 100, 28, 28]`, labels `[100]`.

    pictures: of `fixed_noise`, uint8 `[100, 28, 28]` each, from epoch 1.
    """
    epochs = np.arange(1, len(pictures) + 1, dtype=np.int64)
    labels = data.every_class(VARIANTS).numpy().astype(np.uint8)
    files.write_npz(path, epochs=epochs, images=np.stack(pictures), labels=labels)
