"""The optimizers: PyTorch's own."""

from collections.abc import Iterable
from typing import Protocol

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR


class AdamParams(Protocol):
    """What a section of params.yaml says of Adam. one_cycle: whether lr and beta1 follow one cycle."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float
    one_cycle: bool


def adam(parameters: Iterable[nn.Parameter], p: AdamParams) -> Adam:
    """Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization" (arXiv:1412.6980), algorithm 1."""
    return Adam(parameters, lr=p.lr, betas=(p.beta1, p.beta2), eps=p.epsilon, fused=True)


def one_cycle(optimizer: Optimizer, p: AdamParams, steps: int) -> OneCycleLR:
    """Smith & Topin 2018, "Super-Convergence": over `steps` steps lr rises to p.lr and falls to nearly 0."""
    # One step more than are taken: the last would have a step size of nearly 0.
    return OneCycleLR(optimizer, max_lr=p.lr, total_steps=steps + 1)
