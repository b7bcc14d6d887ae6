"""The networks: layers, losses, training steps, drawing.

`MODELS` is the one list of the generators that are compared. A model's module is imported when it is needed,
so drawing with one model needs no other. It has:

- `Params`, its section of params.yaml, which may say each part's `step_size` (otherwise its `lr`), and
  `Architecture`, what of it shapes the network;
- `Network`, a `torch.nn.Module` made of a `Spec` (the classes and the shape of its images) and an
  `Architecture`, with both as plain values in `config`, and `parts` (name -> submodule with its own
  optimizer);
- `build(p, spec, seed)` -> a fresh network;
- `train_step(network, optimizers, x, labels, noise, p)` -> name -> one number per image, `[b]`, detached;
- `phases(p)` -> (epochs, step) of each part of a training, in turn; a step is like `train_step` (only in the
  CVAE: without it there is one part, `p.epochs` of `train_step`);
- `renew_statistics(network, labels, noise)`, for an average of weights (only in the CGAN);
- `validate(network, images, seed)` -> name -> number, on images that it was not trained on (not in the CGAN);
- `draw(network, z, labels)` -> images `[n, d]` in [0, 1]; z is noise from N(0, I), also for the CVAE, whose
  prior turns it into codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import torch
from pydantic import ValidationError, create_model
from torch import Tensor, nn

from condgen.base.errors import UserError, one_line
from condgen.base.sections import Section
from condgen.datasets.spec import Spec


@dataclass(frozen=True)
class Model:
    """A generator. name: in params.yaml, file names and MLflow; title: for display; about: a sentence."""

    name: str
    title: str
    about: str

    @property
    def module(self) -> ModuleType:
        return import_module(f"{__name__}.{self.name}")


MODELS = {
    model.name: model
    for model in (
        Model("cvae", "CVAE", "Conditional variational autoencoder: classes in, images out."),
        Model("cgan", "CGAN", "Conditional generative adversarial network: classes in, images out."),
    )
}


def split_state(network: nn.Module, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A network's state_dict and config, for `files.write_model`; the inverse of `restore`."""
    return network.state_dict(), cast(dict[str, Any], network.config) | {"model": name}


def restore(module: ModuleType, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    """A model's network from what `files.read_model` returned. Raises UserError if they do not fit.

    module: as described above. config: the `config` of its network, and `model`, its name. It is typed as
    params.yaml is, and what it describes is compared with the tensors before a network gets memory.
    """
    kind = module.Network
    try:
        spec, architecture = _read(module, config)
        with torch.device("meta"):  # shapes without numbers
            described = kind(spec, architecture).state_dict()
        _compare(described, state)
        network = kind(spec, architecture)
        network.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the files of the {kind.__name__} do not fit together ({one_line(error)}): "
            "'dvc repro' makes them again"
        ) from None
    return network.eval()


def _read(module: ModuleType, config: Mapping[str, Any]) -> tuple[Spec, Section]:
    """The images and the architecture that a config.json describes. Raises ValueError."""
    typed = create_model("Config", __base__=module.Architecture, spec=(Spec, ...), model=(str, ...))
    try:
        read: Any = typed.model_validate(config)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        missing = [str(e["loc"][-1]) for e in errors if e["type"] == "missing"]
        if missing:
            raise ValueError(f"config.json: {', '.join(missing)} missing") from None
        key = ".".join(map(str, errors[0]["loc"]))
        of = f"{key} is {errors[0]['input']!r}: " if key else ""
        raise ValueError(f"config.json: {of}{errors[0]['msg']}") from None
    return read.spec, read


def _compare(described: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless the tensors have the described names, shapes and types, and finite numbers."""
    for name in [*described, *(state.keys() - described.keys())]:
        expected, found = (
            f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") if tensor is not None else "absent"
            for tensor in (described.get(name), state.get(name))
        )
        if expected != found:
            raise ValueError(f"{name} is {found}, but by config.json it must be {expected}")
        if not state[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
