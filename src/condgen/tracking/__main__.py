"""`python -m condgen.tracking JOURNAL`: the courier of one stage, which `courier.start` starts."""

import os
import select
import sys
import tempfile
from pathlib import Path

from condgen.base import files
from condgen.tracking import address, courier


def main() -> None:
    """Delivers the journal until it is delivered, or the stage has ended and MLflow fails.

    The pipe on standard input carries nothing: the operating system closes it when the stage ends, however it
    ends. So the courier need not look at the disk many times a second, and no stage waits for its next look.
    """
    folder = Path(sys.argv[1])
    usage = courier.usage_of(folder, os.getppid())
    address.configure()
    # MLflow's temporary files are in a folder named after this process: if it is killed, a stage sweeps them.
    with tempfile.TemporaryDirectory(
        prefix=files.unfinished("courier"), ignore_cleanup_errors=True
    ) as tempfile.tempdir:
        courier.Courier(folder, usage).run(lambda seconds: bool(select.select([0], [], [], seconds)[0]))


if __name__ == "__main__":
    main()
