"""What it costs to draw with a trained model: exact counts, and the speed on this machine."""

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from condgen.sampling.generator import Generator

BULK = 1000  # images at once
SINGLE = 50  # images drawn one at a time
SECONDS = 0.5  # that the bulk speed is measured for, after a first call


def counts(model: Generator) -> dict[str, int]:
    """parameters that drawing uses, and multiply_adds of an image, in matrix products and convolutions."""
    z, labels = _noise(model, 1)
    counter = FlopCounterMode(display=False)
    with counter:
        model.draw(z, labels)
    return {"parameters": _used(model), "multiply_adds": counter.get_total_flops() // 2}


def _used(model: Generator) -> int:
    """The number of parameters of the modules that run when an image is drawn."""
    ran: set[nn.Module] = set()
    hooks = [m.register_forward_hook(lambda module, *_: ran.add(module)) for m in model.network.modules()]
    model.draw(*_noise(model, 1))
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for module in ran for p in module.parameters(recurse=False))


def speed(model: Generator) -> dict[str, float]:
    """Images per second, BULK at once and one at a time: for MLflow, not for files that DVC hashes."""
    one, many = _noise(model, 1), _noise(model, BULK)
    model.draw(*many)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        model.draw(*many)
        count += BULK
    bulk = count / (time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(SINGLE):
        model.draw(*one)
    return {"draw_bulk_per_second": bulk, "draw_single_per_second": SINGLE / (time.perf_counter() - start)}


def _noise(model: Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % model.spec.count
    return torch.zeros(n, model.latent_dim), labels
