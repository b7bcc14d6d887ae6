"""Where and how PyTorch computes: the device, the number of threads, denormals, freed memory."""

import os
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_limits

from condgen.base import memory
from condgen.base.errors import UserError


def choose_device(threads: int) -> torch.device:
    """CUDA, else MPS, else the CPU; the environment variable CONDGEN_DEVICE overrides.

    Also sets how the CPU computes. `threads`: sums are split among them, so their number decides the last
    bits of results, here and in NumPy's and SciPy's libraries; OMP_NUM_THREADS does not count. Denormals
    are flushed to zero: the all-black border pixels drive Adam's moments there, and arithmetic on them
    makes an epoch up to twice as slow. So does memory that comes and goes (`memory.keep_freed`).
    """
    memory.keep_freed()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    name = os.environ.get("CONDGEN_DEVICE") or next(name for name in available if available[name]())
    try:
        device = torch.device(name)
        usable = available[device.type]()
    except (RuntimeError, KeyError):
        raise UserError(f"CONDGEN_DEVICE is {name!r}, but must be one of {', '.join(available)}") from None
    try:
        if usable:
            torch.empty(0, device=device)  # there may be a first GPU but no seventh
            return device
    except RuntimeError:
        pass
    raise UserError(f"CONDGEN_DEVICE is {name!r}, but this machine has none that PyTorch can use")


def machine(device: torch.device) -> dict[str, str | int]:
    """What float results depend on beside the parameters: the device, the thread count, PyTorch."""
    return {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
