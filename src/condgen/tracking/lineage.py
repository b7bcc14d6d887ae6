"""Which run made a file, from what, and who used it: files are found by their MD5, not by their names."""

import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from condgen.base import files, params, pipeline
from condgen.base.errors import UserError
from condgen.tracking import provenance
from condgen.tracking.provenance import READ, WROTE
from condgen.tracking.store import Store, asking

RESULTS = "metrics/evaluate.json"  # among the artifacts of a run of evaluate


def maker(store: Store, path: str, md5: str) -> Run | None:
    """The latest stage run that wrote `path` with these bytes."""
    return _latest(store, WROTE, path, md5)


def model_of_samples(store: Store, path: str, md5: str, model: str) -> str | None:
    """The MD5 of the model.safetensors that the samples in a file were drawn from, or None."""
    run = maker(store, path, md5)
    return _hashes(run, READ).get(f"data/models/{model}/model.safetensors") if run else None


def measured(store: Store, model: str, md5: str) -> tuple[dict[str, str], dict[str, Any] | None]:
    """(the parameters of the run that trained a model, and what was measured of it, if it was).

    md5: of its model.safetensors. The results are the latest evaluation's of samples that it drew. Raises
    UserError if the store fails.
    """
    path, samples = f"data/models/{model}/model.safetensors", f"data/samples/{model}.npz"
    with asking(f"tell who measured this {model}"):
        trained = maker(store, path, md5)
        drawn = _latest(store, READ, path, md5, "sample")
        drawn_md5 = drawn and _hashes(drawn, WROTE).get(samples)
        judged = _latest(store, READ, samples, drawn_md5, "evaluate") if drawn_md5 else None
        if judged is None:
            return (dict(trained.data.params) if trained else {}), None
        with tempfile.TemporaryDirectory() as folder:
            file = store.client.download_artifacts(judged.info.run_id, RESULTS, folder)
            results = files.read_json(file)
    return (dict(trained.data.params) if trained else {}), results


def trace(store: Store, what: str) -> str:
    """What is known of a file, of a run or of a DVC experiment, for people.

    what: a file, a folder of files, a run's id, or the name of a pipeline run or of an experiment. An
    ancestor is described once. Raises UserError where no run of this store knows it, or where the store
    fails.
    """
    path, told = Path(what), set[str]()
    with asking(f"trace {what}"):
        if not os.path.exists(what):  # unlike pathlib's, not surprised by any name
            return "\n".join(_run(store, what, told))
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        return "\n\n".join("\n".join(_file(store, file, told)) for file in found)


def _file(store: Store, path: Path, told: set[str]) -> Iterator[str]:
    md5 = pipeline.md5(path)
    stages = store.runs("tags.stage != 'pipeline'")
    made = [run for run in stages if md5 in _hashes(run, WROTE).values()]
    used = [run for run in stages if md5 in _hashes(run, READ).values()]
    yield f"{path}  (MD5 {md5})"
    if not made and not used:
        raise UserError(f"{path} has MD5 {md5}, which no run in this store wrote or read")
    yield from _made(store, next(iter(made), None), "  ", told)
    for run in used:
        yield f"  used by {run.info.run_name}  {store.page(run.info.run_id)}"


def _latest(
    store: Store, prefixes: tuple[str, ...], path: str, md5: str, stage: str | None = None
) -> Run | None:
    """The latest run, of a stage, with the MD5 of a path in a tag that begins in one of these ways."""
    of = f"tags.stage = '{stage}' AND " if stage else ""
    found = (store.latest(f"{of}tags.`{prefix}{path}` = '{md5}'") for prefix in prefixes)
    return max(filter(None, found), key=lambda run: run.info.start_time, default=None)


def _hashes(run: Run, prefixes: tuple[str, ...]) -> dict[str, str]:
    """Path -> MD5 of what a run read or wrote."""
    tags = sorted(run.data.tags.items())
    return {k.removeprefix(start): md5 for start in prefixes for k, md5 in tags if k.startswith(start)}


def _made(store: Store, run: Run | None, indent: str, told: set[str]) -> Iterator[str]:
    """A run and, indented, the runs that made what it read. told: the IDs of those that were described."""
    if run is None:
        yield f"{indent}made by a run that is not in this store"
        return
    if run.info.run_id in told:
        yield f"{indent}made by {run.info.run_name}, see above"
        return
    told.add(run.info.run_id)
    tags = run.data.tags
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    yield f"{indent}made by {run.info.run_name}, {started:%Y-%m-%d %H:%M:%S}  {store.page(run.info.run_id)}"
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
        yield from _made(store, found, indent + "  ", told)


def _run(store: Store, what: str, told: set[str]) -> Iterator[str]:
    # Not by a query: names hold characters that its language does not know.
    run = next((run for run in store.runs("") if what in (run.info.run_id, run.info.run_name)), None)
    if run is None:
        yield from _experiment(store, what, told)
        return
    yield f"{run.info.run_name}  {run.info.status}  {store.page(run.info.run_id)}"
    for stage in reversed(store.children(run.info.run_id) or [run]):
        yield from _made(store, stage, "  ", told)
        for path, md5 in _hashes(stage, WROTE).items():
            here = pipeline.root() / path
            same = here.is_file() and pipeline.md5(here) == md5
            yield f"    wrote {path} (MD5 {md5}){', as in the workspace' if same else ''}"
    for key, value in sorted(run.data.tags.items()):
        if key.startswith("reused.") and not key.endswith(".run"):
            yield f"  {key.removeprefix('reused.')} did not run again: its result is that of {value}"


def _experiment(store: Store, name: str, told: set[str]) -> Iterator[str]:
    """A DVC experiment without a run, because DVC had all its results: who made them, by its dvc.lock."""
    newest = next((found for found in provenance.experiments() if found.name == name), None)
    if newest is None:
        raise UserError(f"{name} is neither a file nor the id or name of a run, nor a DVC experiment")
    yield f"{name}, a DVC experiment all of whose stages came from the cache"
    lock = params.parse(provenance.git("show", f"{newest.ref}:./dvc.lock", cwd=pipeline.root()), "dvc.lock")
    for stage, spec in lock.get("stages", {}).items():
        # Of a folder it has one MD5 for all files.
        outs = (out for out in spec.get("outs", []) if not out["md5"].endswith(".dir"))
        runs = (maker(store, out["path"], out["md5"]) for out in outs)
        yield f"  {stage}"
        yield from _made(store, next(filter(None, runs), None), "    ", told)
