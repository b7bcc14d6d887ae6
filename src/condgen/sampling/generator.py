"""A trained model that draws images of the classes it is asked for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from condgen.base import files, random
from condgen.base.errors import UserError
from condgen.datasets.spec import Spec, Words
from condgen.models import MODELS, restore

BATCH = 1000  # images at once; changes no result
LARGEST_SEED = 2**32 - 1
HOTTEST = 1000  # far above any useful value, and far below a float32 overflow in the network


@dataclass(frozen=True)
class Generator:
    """A trained model.

    Attributes:
        name: its name in `MODELS`.
        network: in eval mode.
        md5: MD5 of its model.safetensors, as md5sum and dvc.lock give it.
        device: where the network is.
    """

    name: str
    network: nn.Module
    md5: str
    device: torch.device

    @property
    def spec(self) -> Spec:
        return cast(Spec, self.network.spec)

    @property
    def latent_dim(self) -> int:
        return cast(dict[str, Any], self.network.config)["latent_dim"]

    @property
    def conditional(self) -> bool:
        return cast(dict[str, Any], self.network.config)["conditional"]

    def draw(self, z: Tensor, labels: Tensor) -> np.ndarray:
        """uint8 `[n, ...]` for z `[n, latent_dim]` and labels `[n]`, BATCH at a time. Raises UserError."""
        draw, to, drawn = MODELS[self.name].module.draw, self.device, []
        for part in zip(z.split(BATCH), labels.split(BATCH), strict=True):
            x = draw(self.network, *(tensor.to(to) for tensor in part))
            if not x.isfinite().all():  # a black picture would look like a result
                raise UserError(f"this {self.name} draws NaN: its weights are damaged")
            drawn.append(self.spec.to_uint8(x))
        return np.concatenate(drawn)

    def images(self, labels: Tensor, stream: str, seed: int, temperature: float = 1.0) -> np.ndarray:
        """uint8 `[n, ...]` for labels `[n]`; z ~ N(0, temperature^2 I), 1 is the prior.

        z is drawn for all images at once, so an image does not depend on the batch it is in. Another
        `stream` gives other noise. Raises UserError if seed or temperature is out of range.
        """
        check_noise(seed, temperature)
        noise = random.generator(seed, stream)
        return self.draw(torch.randn(len(labels), self.latent_dim, generator=noise) * temperature, labels)


def load(folder: str | Path, device: torch.device | None = None, name: str | None = None) -> Generator:
    """Reads a generator from model.safetensors and config.json; if `name` is given, it must be that model.

    Raises UserError if the folder holds no trained generator, or that of another model.
    """
    state, config = files.read_model(folder)
    to, found, names = device or torch.device("cpu"), config.get("model"), [name] if name else list(MODELS)
    if found not in names:
        where = Path(folder) / "config.json"
        raise UserError(f"{where}: model is {found!r}, but must be {' or '.join(names)}")
    network = restore(MODELS[found].module, state, config).to(to)
    md5 = hashlib.md5((Path(folder) / "model.safetensors").read_bytes(), usedforsecurity=False).hexdigest()
    return Generator(found, network, md5, to)


def check_noise(seed: int, temperature: float) -> None:
    """Raises UserError if seed or temperature is out of range."""
    within("seed", seed, 0, LARGEST_SEED)
    within("temperature", temperature, 0, HOTTEST)


def check_conditional(generator: Generator) -> None:
    """Raises UserError if the model was trained without labels: it cannot draw a class on request."""
    if not generator.conditional:
        raise UserError(
            f"this {generator.name} was trained with {generator.name}.conditional false, so it draws random "
            f"{Words(generator.spec.classes).many}: use a model that was trained with true"
        )


def within(name: str, value: float, low: int, high: int) -> None:
    """Raises UserError unless low <= value <= high; NaN is outside."""
    if not low <= value <= high:
        raise UserError(f"{name} is {value}, but must be in [{low}, {high}]")
