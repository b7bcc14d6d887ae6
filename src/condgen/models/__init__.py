"""The networks: what they are, what they minimise, how they draw.

`MODELS` is the one list of the generators that are compared. Its modules are imported when they are asked
for, so whoever draws with one model needs no other. A model's module has:

- `Params`, its section of params.yaml, and `Network`, a `torch.nn.Module` with `config` (the arguments that
  build it, `latent_dim` among them) and `parts` (name -> submodule that has an optimizer of its own);
- `build(p, seed)` -> a fresh network;
- `train_step(network, optimizers, x, labels, noise, p)` -> numbers of each image, `[b]`, detached;
- `validate(network, images, seed)` -> numbers on images that it was not trained on (none for the CGAN);
- `draw(network, z, labels)` -> images `[n, 784]` in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from condgen.base.errors import UserError


@dataclass(frozen=True)
class Model:
    """A generator. name: in params.yaml, file names and MLflow; title: for people; about: a sentence."""

    name: str
    title: str
    about: str

    @property
    def module(self) -> ModuleType:
        return import_module(f"{__name__}.{self.name}")


MODELS = {
    model.name: model
    for model in (
        Model("cvae", "CVAE", "Conditional variational autoencoder: digits in, images out."),
        Model("cgan", "CGAN", "Conditional generative adversarial network: digits in, images out."),
    )
}


def split_state(network: nn.Module, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A network as `files.write_model` takes it: its state_dict, and how to build it. Undone by `restore`."""
    return network.state_dict(), cast(dict[str, Any], network.config) | {"model": name}


def restore(kind: type[nn.Module], state: Mapping[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    """A network of class `kind` from what `files.read_model` read. Raises UserError where they do not fit.

    config: the arguments of the class, and `model`, the name of the model.
    """
    try:
        network = kind(**{key: value for key, value in config.items() if key != "model"})
        network.load_state_dict(state)
    except (TypeError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the files of the {kind.__name__} do not fit one another ({error}): 'dvc repro' makes them anew"
        ) from None
    return network.eval()
