"""The matmul limit: the time that the matrix products of a training step take by themselves."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Product = tuple[int, int, int]  # [m, k] @ [k, n]


class Recorder(TorchDispatchMode):
    """Records the size and layout of every matrix product; a convolution counts as its im2col products."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm"):
            self.products.append(tuple(_alike(matrix) for matrix in args[-2:]))
        elif name == "convolution":
            # A transposed convolution is the backward pass of one from its output to its input.
            (rows, k, n) = _unfolded(args[0] if args[6] else result, args[1])
            product = ((rows, n), (n, k)) if args[6] else ((rows, k), (k, n))
            self.products.append(tuple(torch.randn(*shape) for shape in product))
        elif name == "convolution_backward":
            (rows, k, n), wanted = _unfolded(args[1] if args[7] else args[0], args[2]), args[-1]
            if wanted[0]:
                product = ((rows, k), (k, n)) if args[7] else ((rows, n), (n, k))
                self.products.append(tuple(torch.randn(*shape) for shape in product))
            if wanted[1]:
                self.products.append((torch.randn(n, rows), torch.randn(rows, k)))
        return result


def _alike(matrix: torch.Tensor) -> torch.Tensor:
    """A random matrix of the same shape and storage order (row- or column-major)."""
    m, n = matrix.shape
    return torch.randn(n, m).t() if matrix.stride(0) == 1 and m > 1 else torch.randn(m, n)


def _unfolded(output: torch.Tensor, weight: torch.Tensor) -> Product:
    """The size of a convolution's matrix product when its input is unfolded (im2col)."""
    return output.shape[0] * output.shape[2] * output.shape[3], weight[0].numel(), len(weight)


def measure(step: Callable[[], object], rounds: int, steps: int) -> tuple[float, float]:
    """(seconds, floating-point operations) of a step's products; seconds are the median of `rounds`."""
    with Recorder() as recorder:
        step()
    pairs = [(a, b, torch.empty(a.shape[0], b.shape[1])) for a, b in recorder.products]
    operations = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in pairs)
    seconds = []
    for _ in range(rounds + 1):  # the first warms up
        start = time.perf_counter()
        for _ in range(steps):
            for a, b, out in pairs:
                torch.mm(a, b, out=out)
        seconds.append((time.perf_counter() - start) / steps)
    return statistics.median(seconds[1:]), float(operations)
