"""A trained model that draws images of the classes it is asked for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from condgen.base import files, random
from condgen.base.errors import UserError, one_line
from condgen.datasets.spec import Spec, Words
from condgen.models import MODELS, restore, split_state

BATCH = 1000  # images at once; changes no result
LARGEST_SEED = 2**32 - 1
HOTTEST = 1000  # far above any useful value, and far below a float32 overflow in the network
# The key of config.json that names the tensors of training which model.safetensors lacks, with their shapes.
LEFT_OUT = "left_out"
SHAPES = TypeAdapter(dict[str, list[Annotated[int, Field(ge=0, lt=2**31)]]])


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

    def used(self) -> dict[str, Tensor]:
        """Name in the state_dict -> tensor, of the modules that run when an image is drawn."""
        ran: set[str] = set()
        hooks = [
            module.register_forward_hook(lambda *_, name=name: ran.add(name))
            for name, module in self.network.named_modules()
        ]
        self.draw(torch.zeros(1, self.latent_dim), torch.zeros(1, dtype=torch.int64))
        for hook in hooks:
            hook.remove()
        state = self.network.state_dict()
        return {name: tensor for name, tensor in state.items() if name.rpartition(".")[0] in ran}

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

    As `files.write_model` wrote it from a whole network, or from what `slim` leaves. float16 becomes float32.
    Raises UserError if the folder holds no trained generator, or that of another model.
    """
    state, config = files.read_model(folder)
    to, found, names = device or torch.device("cpu"), config.get("model"), [name] if name else list(MODELS)
    where = Path(folder) / "config.json"
    if found not in names:
        raise UserError(f"{where}: model is {found!r}, but must be {' or '.join(names)}")
    state = {key: t.float() if t.dtype == torch.float16 else t for key, t in state.items()}
    absent = _zeros(config.pop(LEFT_OUT, {}), where)
    network = restore(MODELS[found].module, absent | state, config).to(to)
    md5 = hashlib.md5((Path(folder) / "model.safetensors").read_bytes(), usedforsecurity=False).hexdigest()
    model = Generator(found, network, md5, to)
    needed = sorted(model.used().keys() & absent.keys() - state.keys()) if absent else []
    if needed:
        raise UserError(f"{where}: {LEFT_OUT} names {needed[0]}, but drawing needs it")
    return model


def slim(model: Generator, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What drawing needs of a model, for `files.write_model`: neither encoder nor discriminator.

    dtype: of its numbers; float16 halves the file. `load` reads it.
    """
    state, config = split_state(model.network, model.name)
    used = model.used()
    kept = {key: t.to(dtype) if t.is_floating_point() else t for key, t in used.items()}
    return kept, config | {LEFT_OUT: {key: list(t.shape) for key, t in state.items() if key not in used}}


def _zeros(shapes: object, where: Path) -> dict[str, Tensor]:
    """Zeros in place of tensors that were left out. They take no memory, whatever shapes are claimed."""
    try:
        wanted = SHAPES.validate_python(shapes, strict=True)
        return {name: torch.zeros(()).expand(shape) for name, shape in wanted.items()}
    except (RuntimeError, ValidationError) as error:
        raise UserError(f"{where}: {LEFT_OUT} must hold names and shapes ({one_line(error)})") from None


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
