"""The initialisation that all networks share."""

import torch
from torch import nn


def init_glorot(network: nn.Module, generator: torch.Generator) -> None:
    """Glorot-uniform weights and zero biases, the default of Keras and of tf.layers.dense.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
