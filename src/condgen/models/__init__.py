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
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from condgen.base.errors import UserError
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


def restore(kind: type[nn.Module], state: Mapping[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    """A network of class `kind` from what `files.read_model` returned. Raises UserError if they do not fit.

    config: the arguments of the class, and `model`, the name of the model.
    """
    try:
        arguments = {key: value for key, value in config.items() if key != "model"}
        network = kind(**arguments | {"spec": Spec(**config["spec"])})
        network.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the files of the {kind.__name__} do not fit together ({error}): 'dvc repro' makes them again"
        ) from None
    return network.eval()
