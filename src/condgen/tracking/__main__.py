"""`python -m condgen.tracking OUTBOX`: the courier of one stage, which `courier` starts.

It hears the name of its journal, and the end of the stage, on its standard input.
"""

import atexit
import gc
import os
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue

from condgen.base import files
from condgen.tracking import courier


def be_nice() -> None:
    """From here on training comes first.

    Not before: between two busy processors it would take minutes to import MLflow, and the UI would show
    nothing of a training until its end.
    """
    if hasattr(os, "nice"):
        os.nice(courier.NICE)


def main() -> None:
    atexit.register(gc.freeze)  # a stage waits for this process to be over: see `preflight`
    journals: SimpleQueue[str] = SimpleQueue()
    stage_ended = threading.Event()

    def listen() -> None:
        name = sys.stdin.buffer.readline()
        if not name:
            os._exit(0)  # the stage ended before it had a journal; this may be in the middle of an import
        journals.put(os.fsdecode(name.removesuffix(b"\n")))
        sys.stdin.buffer.read()
        stage_ended.set()

    threading.Thread(target=listen, daemon=True).start()
    import_module("condgen.tracking.delivery")  # MLflow, in the seconds before there is a journal
    folder = Path(sys.argv[1], journals.get())
    # MLflow's temporary folders are in one that tells whose it is: a stage sweeps it if this is killed.
    with tempfile.TemporaryDirectory(
        prefix=files.unfinished("courier"), ignore_cleanup_errors=True
    ) as tempfile.tempdir:
        courier.Courier(folder).run(stage_ended, begun=be_nice)


main()
