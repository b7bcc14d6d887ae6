"""What all networks share: what is kept of them, their initialisation, and the convolutions.

The convolutions are DCGAN's: Radford et al. 2016, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (arXiv:1511.06434): strides instead of pooling, and up again by
transposed convolutions.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from condgen.base.sections import Section
from condgen.datasets.spec import Spec

GROUPS = 8


def config(spec: Spec, kind: type[Section], p: Section) -> dict[str, Any]:
    """What builds a network again, as plain values: the images, and of p what `kind` has, its shape."""
    return {"spec": spec.model_dump(mode="json")} | p.model_dump(include=set(kind.model_fields))


def init_glorot(network: nn.Module, generator: torch.Generator) -> None:
    """Glorot-uniform weights and zero biases, the default of Keras and of tf.layers.dense.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight: Any = module.weight
            if parametrize.is_parametrized(module, "weight"):  # divided by its spectral norm
                weight = module.get_submodule("parametrizations.weight").original
            nn.init.xavier_uniform_(weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def dense(inputs: int, hidden: int, layers: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """`layers` linear layers of `hidden` units, each with its activation: `[b, inputs]` -> `[b, hidden]`."""
    widths = [inputs] + [hidden] * layers
    return nn.Sequential(
        *(module for i in range(layers) for module in (nn.Linear(widths[i], widths[i + 1]), activation()))
    )


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with GROUPS groups, or fewer where that does not divide the channels.

    Wu & He 2018, "Group Normalization" (arXiv:1803.08494). Unlike with batch normalisation, an image does not
    depend on the others of its batch.
    """
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def quarter(spec: Spec) -> int:
    """A quarter of an image's side, rounded up: what two convolutions of stride 2 leave."""
    return -(-spec.side // 4)


class Down(nn.Module):
    """An image, with `maps` constant maps beside it, to features: convolutions of stride 2, 2 and 1.

    `[b, d]`, `[b, maps]` -> `[b, 4 * channels, q, q]` with q = `quarter`, for MNIST 7. An image whose side is
    no multiple of 4 gets zeros to the right and below.
    """

    def __init__(self, spec: Spec, channels: int, activation: Callable[[], nn.Module], maps: int = 0):
        super().__init__()
        self.spec, self.rim = spec, 4 * quarter(spec) - spec.side
        self.layers = nn.Sequential(
            nn.Conv2d(spec.channels + maps, channels, 4, stride=2, padding=1),
            activation(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            activation(),
            nn.Conv2d(2 * channels, 4 * channels, 3, padding=1),
            activation(),
        )

    def forward(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        x = F.pad(self.spec.maps(x), (0, self.rim, 0, self.rim))
        if maps is not None:
            x = torch.cat([x, maps[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        return self.layers(x)


class Up(nn.Module):
    """Features to an image: a linear layer, transposed convolutions of stride 2, and a 3 x 3 one.

    `[b, inputs]` -> `[b, d]`, linear output; cut to the side if that is no multiple of 4.
    norm: a normalisation of so many channels, such as `group_norm` or, as in DCGAN, nn.BatchNorm2d.
    """

    def __init__(
        self,
        inputs: int,
        spec: Spec,
        channels: int,
        activation: Callable[[], nn.Module],
        norm: Callable[[int], nn.Module],
    ):
        super().__init__()
        self.side, q = spec.side, quarter(spec)
        self.layers = nn.Sequential(
            nn.Linear(inputs, 4 * channels * q**2),
            nn.Unflatten(1, (4 * channels, q, q)),
            norm(4 * channels),
            activation(),
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, stride=2, padding=1),
            norm(2 * channels),
            activation(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            norm(channels),
            activation(),
            nn.Conv2d(channels, spec.channels, 3, padding=1),
        )

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(h)[:, :, : self.side, : self.side].flatten(1)
