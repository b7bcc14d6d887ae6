"""Where and how PyTorch computes: the device, the number of threads, denormals, freed memory."""

import os
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_limits

from condgen.base import memory
from condgen.base.errors import UserError

# Environment variables by which MKL, oneDNN and cuBLAS choose other instructions, hence other rounding.
ARITHMETIC = (
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)


def choose_device(threads: int) -> torch.device:
    """CUDA, else MPS, else the CPU; the environment variable CONDGEN_DEVICE overrides the choice.

    Also configures the CPU. `threads`: the threads of PyTorch, NumPy and SciPy, whatever OMP_NUM_THREADS is;
    sums are split among threads, so their number changes the last bits of results. Denormals are flushed to
    zero: at the all-black border pixels Adam's moments decay into denormals, and arithmetic on them makes an
    epoch up to twice as slow. Freed memory is kept, also for speed (`memory.keep_freed`).
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
            torch.empty(0, device=device)  # cuda:7 may not exist where cuda:0 does
            return device
    except RuntimeError:
        pass
    raise UserError(f"CONDGEN_DEVICE is {name!r}, but this machine has none that PyTorch can use")


def machine(device: torch.device) -> dict[str, str | int]:
    """What float results depend on besides the parameters: device, threads, PyTorch, and `ARITHMETIC`."""
    chosen = {name: os.environ[name] for name in ARITHMETIC if name in os.environ}
    return {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__, **chosen}
