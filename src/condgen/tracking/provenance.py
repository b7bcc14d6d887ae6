"""Where a run comes from: its pipeline execution, experiment, commit and changes."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from condgen.base import params, pipeline, process
from condgen.base.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
# DVC keeps references of its own beside them.
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38,62}/[^/]+")
MOST = 5000  # characters; MLflow takes 8000 in a tag
# How a stage's tags with MD5s begin; a path follows. First as they are written: hidden, because MLflow's UI
# shows no tags that begin with "mlflow.". Then as older runs have them.
READ = ("mlflow.condgen.read/", "read/")
WROTE = ("mlflow.condgen.wrote/", "wrote/")


def tags() -> dict[str, str]:
    """Which execution, experiment, commit and changes a run belongs to, as tags."""
    status = git("status", "--porcelain", "--", ".", ":!data", ":!dvc.lock")
    changed = [line[2:].strip() for line in status.splitlines()]
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or git("rev-parse", "HEAD") or "none"
    found = {
        "execution": process.execution(),
        "changed": _changed_params(baseline),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "sweep": os.environ.get("CONDGEN_SWEEP", ""),
        "git.branch": git("symbolic-ref", "--short", "HEAD"),  # none in an experiment: HEAD is detached
        "git.changed": ", ".join(changed)[:MOST],
        "git.commit": baseline,
        "git.dirty": "true" if changed else "false",
        "host": platform.node(),
        "processor": processor(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "stages/" + Path(sys.argv[0]).name,
        "mlflow.source.git.commit": baseline,
        "mlflow.user": psutil.Process().username(),
    }
    return {key: value for key, value in found.items() if value}


def processor() -> str:
    """The processor's model, which decides how results are rounded: "AMD EPYC 7763 64-Core Processor"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def why_stopped() -> str | None:
    """What a sweep says of why it ended this stage, or None."""
    try:
        return Path(os.environ["CONDGEN_STOPPED"]).read_text(encoding="utf-8")
    except (KeyError, OSError, UnicodeDecodeError):
        return None


def name(tags: Mapping[str, str]) -> str:
    """The name of an execution: its DVC experiment, or branch@commit."""
    return tags.get("dvc.experiment") or f"{tags.get('git.branch', 'HEAD')}@{tags['git.commit'][:7]}"


class Experiment(NamedTuple):
    """A DVC experiment: its reference, its name, the time of its commit in seconds since 1970."""

    ref: str
    name: str
    at: int


def experiments() -> list[Experiment]:
    """Those of this repository, the newest first."""
    form = "--format=%(refname) %(committerdate:unix)"
    listed = git("for-each-ref", "--sort=-committerdate", form, "refs/exps", cwd=pipeline.root())
    each = [line.rpartition(" ") for line in listed.splitlines()]
    return [Experiment(ref, Path(ref).name, int(at)) for ref, _, at in each if EXPERIMENT.fullmatch(ref)]


def _changed_params(baseline: str) -> str:
    """Parameters that differ from the commit: 'cgan.lr=0.0002, seed=1', or 'nothing'."""
    try:
        committed = params.dotted(params.parse(git("show", f"{baseline}:./{params.PATH}"), params.PATH))
    except UserError:
        return "unknown"
    changed = [f"{key}={value}" for key, value in params.flat().items() if committed.get(key) != value]
    return ", ".join(changed)[:MOST] or "nothing"


def git(*words: str, cwd: Path | None = None) -> str:
    """What git prints; nothing if it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").rstrip() if done.returncode == 0 else ""
