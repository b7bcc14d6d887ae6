"""PyTorch's Adam and its one-cycle schedule."""

from collections.abc import Iterable
from typing import Protocol

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR


class AdamParams(Protocol):
    """Adam's parameters in a section of params.yaml. one_cycle: whether lr and beta1 follow one cycle."""

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
    # One step more than are taken, because the schedule's last step size is nearly 0.
    return OneCycleLR(optimizer, max_lr=p.lr, total_steps=steps + 1)
