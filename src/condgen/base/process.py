"""Processes: which DVC runs this stage, and whether a process is still running."""

import os
import platform
from pathlib import Path

import psutil


def runner() -> psutil.Process | None:
    """The DVC that runs this stage; this very process if it was started by hand; None if DVC is gone.

    DVC starts a shell, which starts the stage, and gives both DVC_STAGE: the nearest ancestor without this
    value is DVC. It is of the stage's process group; whoever adopts orphans (PID 1, systemd) is not.
    """
    process = above = psutil.Process()
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return process
    try:
        while (parent := above.parent()) is not None:
            above = parent
            if _group(above.pid) != _group(process.pid):
                return None
            if above.environ().get("DVC_STAGE") != stage:
                return above
            process = above
    except psutil.Error:
        return process  # an ancestor that may not be looked into is not our shell
    return None


def execution() -> str:
    """Names the pipeline execution this stage belongs to: the same for all stages of one `dvc repro`.

    It is the process that runs them. A stage started by hand is an execution of its own.
    """
    process = runner() or psutil.Process()
    return f"{platform.node()}-{process.pid}-{_started(process)}"


def running(process: psutil.Process) -> bool:
    """Whether a process is running (a zombie is not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True  # somebody else's
    except psutil.Error:
        return False


def running_pid(pid: int) -> bool:
    """Whether a process of this number is running (a zombie is not)."""
    try:
        return running(psutil.Process(pid))
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def _group(pid: int) -> int | None:
    """A process's group; None where there are none (Windows), or it is gone, or may not be asked."""
    try:
        return os.getpgid(pid)
    except (AttributeError, OSError):
        return None


def _started(process: psutil.Process) -> str:
    """When a process started: on Linux in ticks since this boot, which no change of the clock moves."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return boot + "-" + Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"{process.create_time():.0f}"
