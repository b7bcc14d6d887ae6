"""Adam, without what `torch.optim.Adam` does around it.

Its arithmetic is PyTorch's own fused kernel. What is left out (hooks, parameter groups, sorting the tensors
by device before each step) takes longer for these small networks than the kernel does; and making the first
`torch.optim.Adam` of a process imports PyTorch's compiler, 150 MB that nothing here uses.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn


class AdamParams(Protocol):
    """What a section of params.yaml says of Adam."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float


class Adam:
    """Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization" (arXiv:1412.6980), algorithm 1.

    Each parameter has m (the gradient's running mean) and v (of its square), both of its shape. All share t
    (steps taken, a scalar), so each must have a gradient when a step is taken.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], p: AdamParams):
        self.parameters = list(parameters)
        self.m = [torch.zeros_like(x) for x in self.parameters]
        self.v = [torch.zeros_like(x) for x in self.parameters]
        self.t = torch.zeros((), device=self.parameters[0].device)
        self.lr, self.beta1, self.beta2, self.epsilon = p.lr, p.beta1, p.beta2, p.epsilon

    def zero_grad(self) -> None:
        """Forgets the gradients; the next backward pass then writes instead of adding."""
        for x in self.parameters:
            x.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients at hand."""
        self.t += 1
        # The underscored operator is what torch.optim.Adam calls; tests/test_adam.py compares with it.
        torch._fused_adam_(
            self.parameters, [x.grad for x in self.parameters], self.m, self.v, [],
            [self.t] * len(self.parameters), lr=self.lr, beta1=self.beta1, beta2=self.beta2,
            weight_decay=0.0, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """What a step depends on beside parameters and gradients: "t", "m.0", "v.0", "m.1", ..."""
        named = {f"{kind}.{i}": value for kind in "mv" for i, value in enumerate(getattr(self, kind))}
        return {"t": self.t} | named

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` returned, from any device."""
        for name, value in self.state().items():
            value.copy_(state[name])
