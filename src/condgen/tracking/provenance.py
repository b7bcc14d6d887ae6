"""Where a run comes from: its pipeline execution, experiment, commit and changes."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import yaml

from condgen import params

PACKAGE = Path(__file__).resolve().parents[1]


def tags() -> dict[str, str]:
    """Which execution, experiment, commit and changes a run belongs to, as tags."""
    status = _git("status", "--porcelain", "--", ".", ":!data", ":!dvc.lock")
    changed = [line[2:].strip() for line in status.splitlines()]
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD") or "none"
    branch = _git("symbolic-ref", "--short", "HEAD")  # none in an experiment, whose HEAD is detached
    found = {
        "execution": _execution(),
        "changed": _changed_params(baseline),
        "git.commit": baseline,
        "git.dirty": "true" if changed else "false",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "stages/" + Path(sys.argv[0]).name,
        "mlflow.source.git.commit": baseline,
        "mlflow.user": psutil.Process().username(),
    }
    if branch:
        found["git.branch"] = branch
    if changed:
        found["git.changed"] = ", ".join(changed)[:5000]
    if os.environ.get("DVC_EXP_NAME"):
        found["dvc.experiment"] = os.environ["DVC_EXP_NAME"]
    return found


def name(tags: Mapping[str, str]) -> str:
    """What an execution is called: as its DVC experiment, or branch@commit."""
    return tags.get("dvc.experiment") or f"{tags.get('git.branch', 'HEAD')}@{tags['git.commit'][:7]}"


def _changed_params(baseline: str) -> str:
    """Parameters that are not as in the commit: 'cgan.lr=0.0002, seed=1', or 'nothing'."""
    try:
        sections = yaml.safe_load(_git("show", f"{baseline}:./{params.PATH}"))
    except yaml.YAMLError:
        sections = None
    if not isinstance(sections, dict):
        return "unknown"
    committed = {key: value for key, value in sections.items() if not isinstance(value, dict)}
    for section, values in sections.items():
        if isinstance(values, dict):
            committed |= {f"{section}.{key}": value for key, value in values.items()}
    changed = [f"{key}={value}" for key, value in params.flat().items() if committed.get(key) != value]
    return ", ".join(changed)[:5000] or "nothing"


def _execution() -> str:
    """Names the pipeline execution this stage belongs to: the same for all stages of one `dvc repro`.

    It is the process that runs them. A stage started by hand is an execution of its own.
    """
    process = runner() or psutil.Process()
    return f"{platform.node()}-{process.pid}-{_started(process)}"


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
        while (above := above.parent()) is not None:
            if _group(above.pid) != _group(process.pid):
                return None
            if above.environ().get("DVC_STAGE") != stage:
                return above
            process = above
    except psutil.Error:
        return process  # an ancestor that may not be looked into is not our shell
    return None


def _group(pid: int) -> int | None:
    """A process's group; None where there are none (Windows), or it is gone, or may not be asked."""
    try:
        return os.getpgid(pid)
    except (AttributeError, OSError):
        return None


def alive(process: psutil.Process) -> bool:
    """Whether a process still works; not if it has ended and only its parent does not know yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _started(process: psutil.Process) -> str:
    """When a process started: on Linux in ticks since this boot, which no change of the clock moves."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return boot + "-" + Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"{process.create_time():.0f}"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").rstrip() if done.returncode == 0 else ""
