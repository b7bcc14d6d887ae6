"""The history of a training: pictures of the same noise and labels after every epoch (of the first phase)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condgen.base import files
from condgen.base.random import generator
from condgen.datasets.spec import Spec

VARIANTS = 10  # pictures of each class in the history


def fixed_noise(spec: Spec, seed: int, latent_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The (z, labels) that are drawn after every epoch: VARIANTS of each class, class after class.

    z: `[n, latent_dim]` from N(0, I). labels: `[n]`, int64.
    """
    z = torch.randn(spec.count * VARIANTS, latent_dim, generator=generator(seed, "history"))
    return z.to(device), spec.every_class(VARIANTS, device)


def write_history(path: str | Path, spec: Spec, pictures: Sequence[np.ndarray]) -> None:
    """Writes data/history/*.npz: epochs `[e]` from 1, images `[e, n, ...]`, labels `[n]`.

    pictures: of `fixed_noise`, uint8 `[n, ...]` each, from epoch 1.
    """
    epochs = np.arange(1, len(pictures) + 1, dtype=np.int64)
    labels = spec.every_class(VARIANTS).numpy().astype(np.uint8)
    files.write_npz(path, epochs=epochs, images=np.stack(pictures), labels=labels)
