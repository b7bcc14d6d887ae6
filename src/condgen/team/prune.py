"""`condgen prune`: removes old runs of MLflow, old DVC experiments, and files that only old commits name.

Kept, however old: a run that made a file of the workspace, a branch, a tag or a kept experiment; champions;
pinned runs; and the experiments of both.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from condgen.base import params, pipeline
from condgen.base.errors import UserError, one_line
from condgen.tracking import cleaning, store
from condgen.tracking.provenance import Experiment, experiments, git

UNITS = {"d": 86400, "h": 3600, "w": 7 * 86400}
SHOWN = 20  # lines of each kind in a plan


def seconds(text: str) -> float:
    """ "`30d` -> 2592000.0. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([dhw])", text)
    if not found:
        raise UserError(f"--older-than is {text}, but must be as 30d, 12h or 4w")
    return float(found[1]) * UNITS[found[2]]


def in_use(root: Path, kept: list[Experiment]) -> set[str]:
    """MD5 of every file that dvc.lock names: here, in branches, tags and kept experiments."""
    heads = git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags", cwd=root)
    refs = [*heads.split(), "HEAD", *(experiment.ref for experiment in kept)]
    texts = [git("show", f"{ref}:./dvc.lock", cwd=root) for ref in refs]
    here = root / "dvc.lock"
    texts += [here.read_text(encoding="utf-8")] if here.is_file() else []
    return {md5 for text in set(texts) if text for md5 in _hashes(params.parse(text, "dvc.lock"))}


def _hashes(lock: Any) -> Iterator[str]:
    stages = lock.get("stages", {}) if isinstance(lock, dict) else {}
    yield from (out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out)


def prune(
    older_than: str, dry_run: bool, yes: bool, say: Callable[[str], None], ask: Callable[[str], str] | None
) -> None:
    """Says what would be removed, asks, removes. ask: None where nobody can answer. Raises UserError."""
    root, before = pipeline.root(), time.time() - seconds(older_than)
    if not git("rev-parse", "HEAD", cwd=root):
        raise UserError("git does not answer here, so nobody can tell which files are in use")
    tracked = store.existing()
    found = cleaning.executions(tracked)
    # A champion's or a pinned run's experiment stays with it.
    dear = {run.data.tags.get("dvc.experiment") for e in found if e.why for run in e.runs}
    every = experiments()
    going = [e for e in every if e.at < before and e.name not in dear]
    refs = {experiment.ref for experiment in going}
    staying = [experiment for experiment in every if experiment.ref not in refs]
    what = cleaning.old(tracked, found, int(before * 1000), in_use(root, staying))
    for line in _described(what, going, before):
        say(line)
    if dry_run:
        return
    _alone(root)
    if not yes:
        if ask is None:
            raise UserError("nobody can be asked here: --yes removes them, --dry-run only lists them")
        if ask("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("nothing was removed")
        _alone(root)  # again: the answer took its time
    left = cleaning.remove(tracked, what)
    for start in range(0, len(going), 100):
        _dvc(root, "exp", "remove", *(experiment.ref for experiment in going[start : start + 100]))
    # The files of commits that are younger stay, too, whatever branch they are on.
    since = datetime.fromtimestamp(before).strftime("%Y-%m-%d")
    _dvc(
        root,
        "gc",
        "--workspace",
        "--all-branches",
        "--all-tags",
        "--all-experiments",
        "--date",
        since,
        "--force",
    )
    runs = sum(len(execution.runs) for execution in what.executions) + len(what.deleted)
    say(f"removed: runs {runs}, experiments {len(going)}, and the files that only they had")
    if left:
        say(left)


def _first(things: list[tuple[float, str]]) -> Iterator[str]:
    """Lines for the first SHOWN things, each with its time (seconds since 1970) and name."""
    for at, name in things[:SHOWN]:
        yield f"    {datetime.fromtimestamp(at):%Y-%m-%d %H:%M}  {name}"
    if len(things) > SHOWN:
        yield f"    and {len(things) - SHOWN} more"


def _described(what: cleaning.Old, going: list[Experiment], before: float) -> Iterator[str]:
    day = datetime.fromtimestamp(before).strftime("%Y-%m-%d %H:%M")
    executions = what.executions
    yield f"before {day}:"
    yield f"  pipeline runs in MLflow, with their stages, artifacts and models: {len(executions)}"
    yield from _first([(execution.ended / 1000, execution.name) for execution in executions])
    if what.deleted:
        yield f"  runs that were deleted in MLflow before: {len(what.deleted)}"
    yield f"  DVC experiments: {len(going)}"
    yield from _first([(experiment.at, experiment.name) for experiment in going])
    yield (
        "  files in DVC's cache that neither the workspace nor a branch, a tag, a kept experiment or a "
        "commit since that day names"
    )
    if what.gone:
        yield f"  MLflow removes what was deleted in its UI, too: experiments {', '.join(what.gone)}"
    for why, count in what.kept.most_common():
        yield f"  kept, though as old: {count} ({why})"


def _alone(root: Path) -> None:
    """Raises UserError while trials or experiments run in copies: their files are named by nothing yet."""
    for clone in root.glob(".dvc/tmp/sweeps/*-trials/*/clone"):
        raise UserError(f"a sweep runs, or was stopped: 'condgen sweep --resume' first, or remove {clone}")
    for copy in (*root.glob(".dvc/tmp/exps/tmp*"), *root.glob(".dvc/tmp/exps/standalone/tmp*")):
        raise UserError(f"an experiment runs in {copy}: wait for its end; if none does, remove this folder")


def _dvc(root: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        raise UserError(f"dvc {words[0]}: {one_line(said[-1])}")
