"""Which run made a file, from what, and who used it: files are found by their MD5, not by their names."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from condgen.base import pipeline
from condgen.base.errors import UserError
from condgen.tracking.address import line
from condgen.tracking.provenance import READ, WROTE
from condgen.tracking.store import Store


def maker(store: Store, path: str, md5: str) -> Run | None:
    """The latest stage run that wrote `path` with these bytes."""
    found = (store.latest(f"tags.`{prefix}{path}` = '{md5}'") for prefix in WROTE)
    return max(filter(None, found), key=lambda run: run.info.start_time, default=None)


def model_of_samples(store: Store, path: str, md5: str, model: str) -> str | None:
    """The MD5 of the model.safetensors that the samples in a file were drawn from, or None."""
    run = maker(store, path, md5)
    return _hashes(run, READ).get(f"data/models/{model}/model.safetensors") if run else None


def trace(store: Store, what: str) -> str:
    """What is known of a file or of a run, for people.

    what: a file, a folder of files, a run's id, or the name of a pipeline run. Raises UserError where no run
    of this store knows it, or where the store fails.
    """
    path = Path(what)
    try:
        if not os.path.exists(what):  # unlike pathlib's, not surprised by any name
            return "\n".join(_run(store, what))
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        return "\n\n".join("\n".join(_file(store, file)) for file in found)
    except MlflowException as error:
        raise UserError(f"MLflow cannot trace {what}: {line(error)}") from None


def _file(store: Store, path: Path) -> Iterator[str]:
    md5 = pipeline.md5(path)
    stages = store.runs("tags.stage != 'pipeline'")
    made = [run for run in stages if md5 in _hashes(run, WROTE).values()]
    used = [run for run in stages if md5 in _hashes(run, READ).values()]
    yield f"{path}  (MD5 {md5})"
    if not made and not used:
        raise UserError(f"{path} has MD5 {md5}, which no run in this store wrote or read")
    if made:
        yield from _made(store, made[0], "  ")
    else:
        yield "  made by a run that is not in this store"
    for run in used:
        yield f"  used by {run.info.run_name}  {store.link(run.info.run_id)}"


def _hashes(run: Run, prefixes: tuple[str, ...]) -> dict[str, str]:
    """Path -> MD5 of what a run read or wrote."""
    tags = sorted(run.data.tags.items())
    return {k.removeprefix(start): md5 for start in prefixes for k, md5 in tags if k.startswith(start)}


def _made(store: Store, run: Run, indent: str) -> Iterator[str]:
    """A run and, indented, the runs that made what it read."""
    tags = run.data.tags
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    yield f"{indent}made by {run.info.run_name}, {started:%Y-%m-%d %H:%M:%S}  {store.link(run.info.run_id)}"
    indent += "  "
    changed = f", with changes in {tags['git.changed']}" if "git.changed" in tags else ""
    yield f"{indent}commit {tags.get('git.commit', 'unknown')[:12]}{changed}"
    if run.data.params:
        yield f"{indent}params " + ", ".join(f"{k}={v}" for k, v in sorted(run.data.params.items()))
    if "data" in tags:
        yield f"{indent}data {tags['data']}"
    makers: dict[str, tuple[Run, list[str]]] = {}
    for path, md5 in _hashes(run, READ).items():
        found = maker(store, path, md5)
        if found is None:
            yield f"{indent}read {path} (MD5 {md5}) of a run that is not in this store"
        else:
            makers.setdefault(found.info.run_id, (found, []))[1].append(path)
    for found, paths in makers.values():
        yield f"{indent}read {', '.join(paths)}"
        yield from _made(store, found, indent + "  ")


def _run(store: Store, what: str) -> Iterator[str]:
    # Not by a query: names hold characters that its language does not know.
    run = next((run for run in store.runs("") if what in (run.info.run_id, run.info.run_name)), None)
    if run is None:
        raise UserError(f"{what} is neither a file nor the id or name of a run in this store")
    yield f"{run.info.run_name}  {run.info.status}  {store.link(run.info.run_id)}"
    for stage in reversed(store.children(run.info.run_id) or [run]):
        yield from _made(store, stage, "  ")
        for path, md5 in _hashes(stage, WROTE).items():
            here = pipeline.root() / path
            same = here.is_file() and pipeline.md5(here) == md5
            yield f"    wrote {path} (MD5 {md5}){', as in the workspace' if same else ''}"
    for key, value in sorted(run.data.tags.items()):
        if key.startswith("reused.") and not key.endswith(".run"):
            yield f"  {key.removeprefix('reused.')} did not run again: its result is that of {value}"
