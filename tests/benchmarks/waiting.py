"""Measures the CGAN's training speed in its own process: OpenMP reads its environment once.

Prints images per second. `make bench` calls it with different environments, alone and beside busy processes.
By hand: `GOMP_SPINCOUNT=1000 python tests/benchmarks/waiting.py 5`.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import ours
import torch

from condgen.base import params
from condgen.base.device import choose_device
from condgen.training.state import begin
from specs import DIGITS


def main(seconds: float, name: str = "cgan") -> None:
    choose_device(params.read_threads(ours.PARAMS))
    split, p, kind = ours.load(), ours.parameters(name), ours.kind(name)
    state, noise = begin(kind, p, DIGITS, 0, len(split.train)), torch.Generator().manual_seed(0)
    batches = zip(split.train.x.split(p.batch_size), split.train.y.split(p.batch_size), strict=True)
    count, start = 0, None
    for x, labels in batches:
        kind.train_step(state.model, state.optimizers, x, labels, noise, p)
        if start is None:
            start = time.perf_counter()  # after the first step, which loads kernels
            continue
        count += len(x)
        if time.perf_counter() - start > seconds:
            break
    print(count / (time.perf_counter() - start))


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
