"""Processes: which DVC runs this stage, and whether a process is still running."""

import os
import platform
from pathlib import Path

import psutil


def runner() -> psutil.Process | None:
    """The DVC process that runs this stage; this process if it was started by hand; None if DVC has ended.

    DVC starts a shell, which starts the stage, and sets DVC_STAGE for both: the nearest ancestor without this
    value is DVC. DVC is in the stage's process group; a process that adopts orphans (PID 1, systemd) is not.
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
        return process  # an ancestor that we may not inspect is not our shell
    return None


def execution() -> str:
    """An ID of the pipeline execution, the same for all stages of one `dvc repro`.

    It identifies the process that runs the stages. A stage started by hand is an execution of its own.
    """
    process = runner() or psutil.Process()
    return f"{platform.node()}-{process.pid}-{_started(process)}"


def running(process: psutil.Process) -> bool:
    """Whether a process is running (a zombie is not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True  # another user's process
    except psutil.Error:
        return False


def running_pid(pid: int) -> bool:
    """Whether a process with this PID is running (a zombie is not)."""
    try:
        return running(psutil.Process(pid))
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def _group(pid: int) -> int | None:
    """A process's group; None on Windows, if the process has ended, or if access is denied."""
    try:
        return os.getpgid(pid)
    except (AttributeError, OSError):
        return None


def _started(process: psutil.Process) -> str:
    """When a process started: on Linux in ticks since boot, which do not change when the clock is set."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return boot + "-" + Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"{process.create_time():.0f}"
