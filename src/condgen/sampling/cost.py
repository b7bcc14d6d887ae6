"""What it costs to draw with a trained model: exact counts, and the speed on this machine."""

import time

import torch
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
    parameters = {name for name, _ in model.network.named_parameters()}
    used = sum(tensor.numel() for name, tensor in model.used().items() if name in parameters)
    return {"parameters": used, "multiply_adds": counter.get_total_flops() // 2}


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
