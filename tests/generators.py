"""Small generators of every kind, as if they were trained."""

import torch

from condgen.models import MODELS
from condgen.sampling.generator import Generator
from specs import DIGITS, SHAPES

SMALL = {
    "cvae": {"hidden": 24, "channels": 2, "couplings": 3, "flow_hidden": 12},
    "cgan": {"hidden": 24, "channels": 4, "dropout": 0.0},
}
# name -> the kind of images, changes of each model's parameters
KINDS = {
    "as in the article": (DIGITS, {}, {}),
    "at their best": (
        DIGITS,
        {"network": "conv", "prior": "flow", "latent_dim": 5},
        {
            "network": "conv",
            "head": "dense",
            "conditioning": "projection",
            "spectral_norm": True,
            "latent_dim": 16,
        },
    ),
    "in colour": (
        SHAPES,
        {"network": "conv", "prior": "class", "layers": 2, "latent_dim": 3},
        {"network": "conv", "latent_dim": 7},
    ),
    "class Gaussians": (DIGITS, {"prior": "class", "layers": 3}, {"leak": 0.0, "latent_dim": 1}),
}


def generators(kind, params):
    """Model -> Generator of a kind. params: model -> its parameters in params.yaml."""
    spec, *changes = KINDS[kind]
    return {
        name: generator(name, params[name].model_copy(update=SMALL[name] | changed), spec)
        for name, changed in zip(MODELS, changes, strict=True)
    }


def generator(name, p, spec=DIGITS):
    """A fresh network, every number moved away from where it starts: biases from 0, gains from 0 or 1."""
    network = MODELS[name].module.build(p, spec, 0).eval()
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.3, 3, generator=gen)
            elif tensor.is_floating_point():
                scale = tensor.std() if tensor.ndim > 1 and tensor.std() > 0 else 1
                tensor += 0.3 * scale * torch.randn(tensor.shape, generator=gen)
    return Generator(name, network, "md5", torch.device("cpu"))
