"""Which run made a file, from what, and who used it: files are found by their MD5, not by their names."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from condgen.base import pipeline
from condgen.base.errors import UserError
from condgen.tracking.address import line
from condgen.tracking.store import Store

READ, WROTE = "read/", "wrote/"
STAGES = "tags.stage != 'pipeline'"


def maker(store: Store, path: str, md5: str) -> Run | None:
    """The latest stage run that wrote `path` with these bytes."""
    return store.latest(f"tags.`{WROTE}{path}` = '{md5}'")


def model_of_samples(store: Store, path: str, md5: str, model: str) -> str | None:
    """The MD5 of the model.safetensors that the samples in a file were drawn from, or None."""
    run = maker(store, path, md5)
    return run and run.data.tags.get(f"{READ}data/models/{model}/model.safetensors")


def trace(store: Store, what: str) -> str:
    """What is known of a file or of a run, for people.

    what: a file, a folder of files, a run's id, or the name of a pipeline run. Raises UserError where no run
    of this store knows it, or where the store fails.
    """
    try:
        path = Path(what)
        if path.exists():
            found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            return "\n\n".join("\n".join(_file(store, file)) for file in found)
        return "\n".join(_run(store, what))
    except MlflowException as error:
        raise UserError(f"MLflow cannot trace {what}: {line(error)}") from None


def _file(store: Store, path: Path) -> Iterator[str]:
    md5 = pipeline.md5(path)
    yield f"{path}  (MD5 {md5})"
    made = _having(store, WROTE, path, md5)
    used = _having(store, READ, path, md5)
    if made is None and used is None:
        raise UserError(f"{path} has MD5 {md5}, which no run in this store wrote or read")
    if made is None:
        yield "  made by a run that is not in this store"
    else:
        yield from _made(store, made[0], "  ")
    inner = f"{READ}{(made or used)[1]}"
    for run in store.runs(f"tags.`{inner}` = '{md5}'"):
        yield f"  used by {run.info.run_name}  {store.link(run.info.run_id)}"


def _having(store: Store, prefix: str, path: Path, md5: str) -> tuple[Run, str] | None:
    """The latest run with this hash, and the file's name there; first under the name it has here."""
    try:
        here = path.resolve().relative_to(pipeline.root()).as_posix()
        run = next(store.runs(f"tags.`{prefix}{here}` = '{md5}'", newest=1), None)
    except ValueError:
        run = None
    if run:
        return run, here
    for run in store.runs(STAGES):  # a copy elsewhere may be called anything
        for key, value in run.data.tags.items():
            if key.startswith(prefix) and value == md5:
                return run, key.removeprefix(prefix)
    return None


def _made(store: Store, run: Run, indent: str) -> Iterator[str]:
    """A run and, indented, the runs that made what it read."""
    tags = run.data.tags
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    yield f"{indent}made by {run.info.run_name}, {started:%Y-%m-%d %H:%M:%S}  {store.link(run.info.run_id)}"
    indent += "  "
    commit = tags.get("git.commit", "unknown")[:12]
    changed = f", with changes in {tags['git.changed']}" if "git.changed" in tags else ""
    yield f"{indent}commit {commit}{changed}"
    if run.data.params:
        yield f"{indent}params " + ", ".join(f"{k}={v}" for k, v in sorted(run.data.params.items()))
    for used in run.inputs.dataset_inputs if run.inputs else []:
        yield f"{indent}data {used.dataset.name}"
    makers: dict[str, tuple[Run, list[str]]] = {}
    for key, md5 in sorted(tags.items()):
        path = key.removeprefix(READ)
        if not key.startswith(READ):
            continue
        found = maker(store, path, md5)
        if found is None:
            yield f"{indent}read {path} (MD5 {md5}) of a run that is not in this store"
        else:
            makers.setdefault(found.info.run_id, (found, []))[1].append(path)
    for found, paths in makers.values():
        yield f"{indent}read {', '.join(paths)}"
        yield from _made(store, found, indent + "  ")


def _run(store: Store, what: str) -> Iterator[str]:
    run = _find(store, what)
    yield f"{run.info.run_name}  {run.info.status}  {store.link(run.info.run_id)}"
    children = list(store.runs(f"tags.mlflow.parentRunId = '{run.info.run_id}'"))
    for stage in sorted(children, key=lambda child: child.info.start_time) or [run]:
        yield from _made(store, stage, "  ")
        for key, md5 in sorted(stage.data.tags.items()):
            if key.startswith(WROTE):
                yield f"    wrote {key.removeprefix(WROTE)} (MD5 {md5}){_still_here(key, md5)}"
    for key, value in sorted(run.data.tags.items()):
        if key.startswith("reused.") and not key.endswith(".run"):
            yield f"  {key.removeprefix('reused.')} did not run again: its result is that of {value}"


def _find(store: Store, what: str) -> Run:
    try:
        return store.client.get_run(what)
    except MlflowException:
        pass
    if "'" not in what:
        run = next(store.runs(f"attributes.run_name = '{what}'", newest=1), None)
        if run:
            return run
    raise UserError(f"{what} is neither a file nor the id or name of a run in this store")


def _still_here(key: str, md5: str) -> str:
    path = pipeline.root() / key.removeprefix(WROTE)
    return ", as in the workspace" if path.is_file() and pipeline.md5(path) == md5 else ""
