"""`python -m condgen.tracking JOURNAL`: the courier of one stage, which `courier.start` starts."""

import os
import sys
import threading
from pathlib import Path

from condgen.tracking import courier


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(courier.NICE)
    stage_ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        stage_ended.set()

    threading.Thread(target=wait, daemon=True).start()
    courier.Courier(Path(sys.argv[1])).run(stage_ended)


main()
