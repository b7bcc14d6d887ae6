"""Where a run comes from: its pipeline execution, experiment, commit and changes."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from condgen.base import params, pipeline, process
from condgen.base.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/[^/]+")
MOST = 5000  # characters; MLflow takes 8000 in a tag
# How a stage's tags with MD5s begin; a path follows. First as they are written: hidden, because MLflow's UI
# shows no tags that begin with "mlflow.". Then as older runs have them.
READ = ("mlflow.condgen.read/", "read/")
WROTE = ("mlflow.condgen.wrote/", "wrote/")


def tags() -> dict[str, str]:
    """Which execution, experiment, commit and changes a run belongs to, as tags."""
    status = _git("status", "--porcelain", "--", ".", ":!data", ":!dvc.lock")
    changed = [line[2:].strip() for line in status.splitlines()]
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD") or "none"
    found = {
        "execution": process.execution(),
        "changed": _changed_params(baseline),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "sweep": os.environ.get("CONDGEN_SWEEP", ""),
        "git.branch": _git("symbolic-ref", "--short", "HEAD"),  # none in an experiment: HEAD is detached
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


def experiment(name: str) -> dict[str, dict[str, str]] | None:
    """Stage -> file that it wrote -> MD5, of a DVC experiment; None if there is no such experiment.

    From its dvc.lock, and so without the files in its folders, of which it has only one MD5 for all.
    """
    root = str(pipeline.root())
    refs = _git("-C", root, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps/")
    # refs/exps/<commit, cut after two characters>/<name>
    found = next((r for r in refs.splitlines() if EXPERIMENT.fullmatch(r) and r.endswith(f"/{name}")), None)
    if found is None:
        return None
    stages = params.parse(_git("-C", root, "show", f"{found}:./dvc.lock"), "dvc.lock").get("stages", {})
    return {
        stage: {out["path"]: out["md5"] for out in spec.get("outs", []) if not out["md5"].endswith(".dir")}
        for stage, spec in stages.items()
    }


def _changed_params(baseline: str) -> str:
    """Parameters that differ from the commit: 'cgan.lr=0.0002, seed=1', or 'nothing'."""
    try:
        committed = params.dotted(params.parse(_git("show", f"{baseline}:./{params.PATH}"), params.PATH))
    except UserError:
        return "unknown"
    changed = [f"{key}={value}" for key, value in params.flat().items() if committed.get(key) != value]
    return ", ".join(changed)[:MOST] or "nothing"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").rstrip() if done.returncode == 0 else ""
