"""The networks: layers, losses, training steps, drawing.

`MODELS` is the one list of the generators that are compared. A model's module is imported when it is needed,
so drawing with one model needs no other. It has:

- `Params`, its section of params.yaml, and `Network`, a `torch.nn.Module` with `spec` (the classes and the
  shape of its images), `config` (the arguments that build it, as plain values, `latent_dim` and `conditional`
  among them) and `parts` (name -> submodule with its own optimizer);
- `build(p, spec, seed)` -> a fresh network;
- `train_step(network, optimizers, x, labels, noise, p)` -> name -> one number per image, `[b]`, detached;
- `renew_statistics(network, labels, noise)`, for an average of weights (only in the CGAN);
- `validate(network, images, seed)` -> name -> number, on images that it was not trained on (not in the CGAN);
- `draw(network, z, labels)` -> images `[n, d]` in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
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

    module: as described above. config: the arguments of its network, and `model`, its name. They are typed as
    in params.yaml, and what they describe is compared with the tensors before a network gets memory.
    """
    kind = module.Network
    try:
        arguments = _arguments(module, config)
        with torch.device("meta"):  # shapes without numbers
            described = kind(**arguments).state_dict()
        _compare(described, state)
        network = kind(**arguments)
        network.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the files of the {kind.__name__} do not fit together ({one_line(error)}): "
            "'dvc repro' makes them again"
        ) from None
    return network.eval()


def _arguments(module: ModuleType, config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network in its config. Raises ValueError."""
    names = set(signature(module.Network).parameters) - {"spec"}
    known = {name: (field.annotation, field) for name, field in module.Params.model_fields.items()}
    fields: dict[str, Any] = {"spec": (Spec, ...), "model": (str, ...)} | {
        name: known[name] for name in names
    }
    typed = create_model("Config", __base__=Section, **fields)
    try:
        arguments = dict(typed.model_validate(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(f"config.json: {key} is {first['input']!r}: {first['msg']}") from None
    del arguments["model"]
    return arguments


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
