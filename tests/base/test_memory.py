"""Memory that a training step frees is reused by the next one."""

import os
import platform
import subprocess
import sys

import pytest

from condgen.base import memory

STEPS = """
import resource, sys
sys.path.insert(0, "src")
from condgen.base import memory
import torch
if sys.argv[1] == "kept":
    memory.keep_freed()
for step in range(20):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    made = [torch.ones(2_500_000) for _ in range(12)]  # 120 MB
    del made
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_reused_with_few_page_faults(root):
    # glibc adapts its thresholds, differently from run to run; this fixes them at the worst case.
    worst = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    faults = {}
    for how in ("kept", "not"):
        command = [sys.executable, "-c", STEPS, how]
        done = subprocess.run(command, cwd=root, env=worst, capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < 1000
    assert faults["not"] > 100_000


def test_without_glibc_keep_freed_does_nothing(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed()
