"""Old runs: which of them nothing needs any more, and their removal by MLflow's own calls."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mlflow.entities import Run, ViewType

from condgen.base.errors import UserError, one_line
from condgen.tracking.lineage import WROTE
from condgen.tracking.store import Store, asking

PINNED = "pinned"  # a run with this tag, whatever its value, is kept
PARENT = "mlflow.parentRunId"
AT_ONCE = 500  # runs that one call of `mlflow gc` removes


@dataclass
class Execution:
    """A pipeline run and the runs of its stages, which stay or go together. why: stay; empty: go."""

    runs: list[Run]
    why: str = ""

    @property
    def name(self) -> str:
        return str(next((r for r in self.runs if PARENT not in r.data.tags), self.runs[0]).info.run_name)

    @property
    def ended(self) -> int:
        """Milliseconds since 1970: of what happened last."""
        return max(run.info.end_time or run.info.start_time for run in self.runs)


@dataclass
class Old:
    """What can be removed of a store.

    executions: without a reason to be kept. kept: reason -> how many old ones it keeps. deleted: ids of old
    runs that were deleted before, in the UI or by a removal that did not come to its end. gone: names of
    experiments that were deleted in the UI, which MLflow's garbage collection removes as well.
    """

    executions: list[Execution]
    kept: Counter[str]
    deleted: list[str]
    gone: list[str]


def executions(store: Store) -> list[Execution]:
    """All of a store, the newest first, with the reasons that are known without DVC. Raises UserError."""
    with asking(f"read {store.uri}"):
        runs, models = store.runs(""), store.client.search_registered_models(max_results=1000)
        made = [store.client.get_model_version(m.name, v) for m in models for v in m.aliases.values()]
    aliased = {version.run_id for version in made}
    there = {run.info.run_id for run in runs}
    found: dict[str, Execution] = {}
    for run in runs:
        parent = run.data.tags.get(PARENT, "")
        found.setdefault(parent if parent in there else run.info.run_id, Execution([])).runs.append(run)
    for execution in found.values():
        if any(run.info.status in ("RUNNING", "SCHEDULED") for run in execution.runs):
            execution.why = "running"
        elif any(PINNED in run.data.tags for run in execution.runs):
            execution.why = "pinned"
        elif any(run.info.run_id in aliased for run in execution.runs):
            execution.why = "made a champion, or a model with another alias"
    return list(found.values())


def old(store: Store, found: list[Execution], before: int, in_use: Iterable[str]) -> Old:
    """Which executions ended before a time and may go.

    found: as `executions` gives them. before: milliseconds since 1970. in_use: MD5 of files that are in the
    workspace, a branch, a tag or a kept experiment: who wrote one is kept. Raises UserError.
    """
    in_use = set(in_use)
    for execution in found:
        wrote = {md5 for run in execution.runs for k, md5 in run.data.tags.items() if k.startswith(WROTE)}
        if not execution.why and wrote & in_use:
            execution.why = "made files that are in use"
    # Who is kept names the runs whose results it took from DVC's cache.
    named = {
        value
        for execution in found
        if execution.why or execution.ended >= before
        for run in execution.runs
        for key, value in run.data.tags.items()
        if key.startswith("reused.") and key.endswith(".run")
    }
    for execution in found:
        if not execution.why and any(run.info.run_id in named for run in execution.runs):
            execution.why = "made results that a kept run used"
    aged = [execution for execution in found if execution.ended < before]
    client, view = store.client, ViewType.DELETED_ONLY
    with asking(f"read {store.uri}"):
        gone = client.search_experiments(view_type=view)
        deleted = client.search_runs([store.experiment], run_view_type=view, max_results=50_000)
    return Old(
        [execution for execution in aged if not execution.why],
        Counter(execution.why for execution in aged if execution.why),
        [run.info.run_id for run in deleted if (run.info.end_time or run.info.start_time) < before],
        [experiment.name for experiment in gone],
    )


def remove(store: Store, what: Old) -> str:
    """Removes the runs, their models and their artifacts. Returns what is left to do, in words.

    Killed half-way, it is completed by the next removal. Raises UserError.
    """
    client = store.client
    with asking(f"remove runs of {store.uri}"):
        for execution in what.executions:
            # The parent last: a removal that was killed finds its children again.
            for run in sorted(execution.runs, key=lambda run: PARENT not in run.data.tags):
                mine = run.info.run_id
                for version in client.search_model_versions(f"run_id = '{mine}'"):
                    client.delete_model_version(version.name, version.version)
                for model in client.search_logged_models([store.experiment], f"source_run_id = '{mine}'"):
                    client.delete_logged_model(model.model_id)
                client.delete_run(mine)
    ids = [*what.deleted, *(run.info.run_id for execution in what.executions for run in execution.runs)]
    if store.uri.startswith("http"):
        return (
            "where the server runs, 'mlflow gc' frees the space of deleted runs (docs/team.md)" if ids else ""
        )
    for start in range(0, len(ids), AT_ONCE):
        words = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store.uri]
        words += ["--tracking-uri", store.uri, "--run-ids", ",".join(ids[start : start + AT_ONCE])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"mlflow gc failed: {one_line((done.stderr.strip().splitlines() or ['?'])[-1])}")
    return ""


def close(store: Store, sweep: str, commit: str, host: str | None = None) -> int:
    """Closes the runs of a sweep that nobody ends any more as KILLED; returns how many. Raises UserError.

    commit: that the sweep was started from, because somebody else's may have the same name. host: only those
    that ran there. An attempt whose machine died left them. To be called when no trial of the sweep runs.
    """
    of_sweep = f"tags.sweep = '{sweep}' AND tags.`git.commit` = '{commit}'"
    of_sweep += f" AND tags.host = '{host}'" if host else ""
    with asking(f"close runs of {store.uri}"):
        left = store.runs(f"{of_sweep} AND attributes.status = 'RUNNING'")
        for run in left:
            store.client.set_tag(run.info.run_id, "error", "this attempt died with its machine or process")
            store.client.set_terminated(run.info.run_id, "KILLED")
    return len(left)
