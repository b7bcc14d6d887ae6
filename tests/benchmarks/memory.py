"""Measures the memory of one training in a process that imports no more than a stage does.

Prints one line of JSON: resident memory after each epoch and the peak, in MB. `make bench` calls it.
"""

import json
import re
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import ours
import psutil

from condgen.base import params
from condgen.base.device import choose_device

EPOCHS = 8


def main(name: str) -> None:
    choose_device(params.read_threads(ours.PARAMS))
    epochs = ours.begin(name, ours.images(name, ours.load()), EPOCHS).epochs
    after = [psutil.Process().memory_info().rss / 1e6 for _ in epochs]
    print(json.dumps({"after_epoch_mb": after, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """The peak memory of this process. getrusage would include that of the process that started it."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


if __name__ == "__main__":
    main(sys.argv[1])
