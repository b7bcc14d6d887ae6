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

    Each parameter has m (the gradient's running mean), v (of its square), both of its shape, and t (steps
    taken, a scalar). A parameter without a gradient stays as it is, and so do its m, v and t.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], p: AdamParams):
        self.parameters = list(parameters)
        self.m = [torch.zeros_like(x) for x in self.parameters]
        self.v = [torch.zeros_like(x) for x in self.parameters]
        self.t = [torch.zeros((), device=x.device) for x in self.parameters]
        self.lr, self.beta1, self.beta2, self.epsilon = p.lr, p.beta1, p.beta2, p.epsilon

    def zero_grad(self) -> None:
        """Forgets the gradients; the next backward pass then writes instead of adding."""
        for x in self.parameters:
            x.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients at hand."""
        rows = [
            row
            for row in zip(self.parameters, self.m, self.v, self.t, strict=True)
            if row[0].grad is not None
        ]
        if not rows:
            return
        parameters, m, v, t = (list(column) for column in zip(*rows, strict=True))
        torch._foreach_add_(t, 1)
        # Both underscored operators are what torch.optim.Adam calls; tests/test_adam.py compares with it.
        torch._fused_adam_(
            parameters, [x.grad for x in parameters], m, v, [], t, lr=self.lr, beta1=self.beta1,
            beta2=self.beta2, weight_decay=0.0, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """What a step depends on beside parameters and gradients: "m.0", "v.0", "t.0", "m.1", ..."""
        return {f"{kind}.{i}": value for kind in "mvt" for i, value in enumerate(getattr(self, kind))}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` returned, from any device."""
        for name, value in self.state().items():
            value.copy_(state[name])
