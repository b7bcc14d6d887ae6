"""PyTorch's Adam, how its step size changes, and the average of the weights."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

FORGOTTEN = 5  # an average's horizon, 1 / (1 - decay) steps, fits into a phase so many times or more


class AdamParams(Protocol):
    """What a section of params.yaml says of its optimizers. lr_schedule: a key of `schedule`."""

    @property
    def lr(self) -> float: ...
    @property
    def lr_schedule(self) -> str: ...
    @property
    def beta1(self) -> float: ...
    @property
    def beta2(self) -> float: ...
    @property
    def epsilon(self) -> float: ...
    @property
    def ema(self) -> float: ...


def adam(parameters: Iterable[nn.Parameter], p: AdamParams, lr: float) -> Adam:
    """Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization" (arXiv:1412.6980), algorithm 1."""
    return Adam(parameters, lr=lr, betas=(p.beta1, p.beta2), eps=p.epsilon, fused=True)


def schedule(optimizer: Optimizer, p: AdamParams, steps: Sequence[int]) -> LRScheduler | None:
    """Changes lr at every step, anew in each phase; None for a constant lr. steps: of each phase.

    one-cycle: rises to p.lr and falls to nearly 0, once for all phases (Smith & Topin 2018,
    "Super-Convergence"). linear: p.lr for the first half, then falls to 0 (as Zhu et al. 2017, "CycleGAN",
    section 4). cosine: falls from p.lr to 0 along a half wave (Loshchilov & Hutter 2017, "SGDR", equation 5,
    which starts again, too).
    """

    def done(step: int) -> float:  # the share of its phase
        for length in steps:
            if step < length:
                return step / length
            step -= length
        return 1.0

    if p.lr_schedule == "one-cycle":
        # One step more than are taken, because the schedule's last step size is nearly 0.
        return OneCycleLR(optimizer, max_lr=p.lr, total_steps=sum(steps) + 1)
    if p.lr_schedule == "linear":
        return LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - done(step))))
    if p.lr_schedule == "cosine":
        return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * done(step))) / 2)
    return None


def average(model: nn.Module, p: AdamParams, steps: Sequence[int]) -> AveragedModel | None:
    """An exponential moving average of the model's weights, drawn with instead of them; None if p.ema is 0.

    average <- ema * average + (1 - ema) * weights, after every step; it starts as the weights after the first
    step. Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; for GANs: Yazici et
    al. 2019, "The Unusual Effectiveness of Averaging in GAN Training" (arXiv:1806.04498). Buffers are
    those of the last step, but a model's `renew_statistics` replaces them.

    steps: of each phase. In a short one, 1 - FORGOTTEN / steps takes the place of a larger ema, so that the
    first weights' share at its end is e^-FORGOTTEN at most; with .999 and 800 steps it would be 45 %.
    """
    if not p.ema:
        return None
    longest = 1 - FORGOTTEN / min(filter(None, steps))
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(max(0.0, min(p.ema, longest))))
