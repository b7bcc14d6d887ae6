"""A fully connected layer and its activations, forwards and backwards: what a training step is made of.

The gradients are what autograd finds (tests/test_gradients.py compares). Written out, a step is spared what
autograd does between products that are over in a tenth of a millisecond themselves, and each gradient goes
where the last step's was, in memory that the processor's cache still holds.

Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors". d_v stands for the
gradient of the loss by v, and has its shape. To be called under `torch.no_grad()`.
"""

import torch
from torch import Tensor, nn


def forward(layer: nn.Linear, x: Tensor) -> Tensor:
    """x `[b, in]` -> x W^T + bias, `[b, out]`."""
    return torch.addmm(layer.bias, x, layer.weight.t())


def backward(layer: nn.Linear, x: Tensor, d_out: Tensor) -> None:
    """Sets the `grad` of the layer's weight and bias, for input x `[b, in]` and d_out `[b, out]`."""
    layer.weight.grad = torch.mm(d_out.t(), x, out=layer.weight.grad)
    layer.bias.grad = torch.sum(d_out, dim=0, out=layer.bias.grad)


def backward_to_input(layer: nn.Linear, d_out: Tensor) -> Tensor:
    """d_out `[b, out]` -> d_x `[b, in]`."""
    return torch.mm(d_out, layer.weight)


def relu_backward(d_h: Tensor, h: Tensor) -> Tensor:
    """d_a for h = relu(a): d_h where h is positive, else 0; all of one shape."""
    return torch.ops.aten.threshold_backward(d_h, h, 0)  # what autograd calls


def leaky_slope(a: Tensor, leak: float, mask: Tensor) -> Tensor:
    """mask where a is positive, else leak * mask; all of one shape.

    Leaky relu is linear on either side of 0, so with s the slope that this returns, leaky relu and then
    dropout are a * s, and backwards d_h * s.
    """
    return torch.ops.aten.leaky_relu_backward(mask, a, leak, False)  # as autograd calls it with a gradient


def tanh_backward(d_h: Tensor, h: Tensor) -> Tensor:
    """d_a for h = tanh(a): d_h (1 - h^2); all of one shape."""
    return torch.ops.aten.tanh_backward(d_h, h)
