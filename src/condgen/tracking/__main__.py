"""`python -m condgen.tracking JOURNAL`: the courier of one stage, which `courier.start` starts."""

import atexit
import gc
import os
import sys
import tempfile
import threading
from pathlib import Path

from condgen import files
from condgen.tracking import courier


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(courier.NICE)
    atexit.register(gc.freeze)  # a stage waits for this process to be over: see `preflight`
    stage_ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        stage_ended.set()

    threading.Thread(target=wait, daemon=True).start()
    # MLflow's temporary folders are in one that tells whose it is: a stage sweeps it if this is killed.
    with tempfile.TemporaryDirectory(
        prefix=files.unfinished("courier"), ignore_cleanup_errors=True
    ) as tempfile.tempdir:
        courier.Courier(Path(sys.argv[1])).run(stage_ended)


main()
