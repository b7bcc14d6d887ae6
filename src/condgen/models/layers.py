"""What all networks share: their initialisation, and the convolutions between an image and features.

The convolutions are DCGAN's: Radford et al. 2016, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (arXiv:1511.06434): strides instead of pooling, and up again by
transposed convolutions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from condgen.datasets import data

QUARTER = data.SIDE // 4  # of an image's side: what two convolutions of stride 2 leave


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


class Down(nn.Module):
    """An image, with `maps` constant maps beside it, to 7 x 7 features: convolutions of stride 2, 2 and 1.

    `[b, 784]`, `[b, maps]` -> `[b, 4 * channels, 7, 7]`.
    """

    def __init__(self, channels: int, activation: Callable[[], nn.Module], maps: int = 0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1 + maps, channels, 4, stride=2, padding=1),
            activation(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            activation(),
            nn.Conv2d(2 * channels, 4 * channels, 3, padding=1),
            activation(),
        )

    def forward(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        x = x.view(-1, 1, data.SIDE, data.SIDE)
        if maps is not None:
            x = torch.cat([x, maps[:, :, None, None].expand(-1, -1, data.SIDE, data.SIDE)], dim=1)
        return self.layers(x)


class Up(nn.Module):
    """Features to an image: a linear layer to 7 x 7, transposed convolutions of stride 2, and a 3 x 3 one.

    `[b, inputs]` -> `[b, 784]`, linear output. With batch normalisation (Ioffe & Szegedy 2015,
    arXiv:1502.03167), as in DCGAN's generator: while training, an image depends on the others of its batch.
    """

    def __init__(self, inputs: int, channels: int, activation: Callable[[], nn.Module]):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 4 * channels * QUARTER**2),
            nn.Unflatten(1, (4 * channels, QUARTER, QUARTER)),
            nn.BatchNorm2d(4 * channels),
            activation(),
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * channels),
            activation(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            activation(),
            nn.Conv2d(channels, 1, 3, padding=1),
            nn.Flatten(),
        )

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(h)
