"""MLflow: a view of the files, one parent run for each pipeline execution and a child for each stage.

The only module that talks to MLflow (`serving` is what it stores). No output depends on it, so no stage
lists it in its `deps`. Where MLflow cannot be used, a line says so and the stage goes on.
"""

import hashlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from filelock import FileLock

from condgen import compare, figures, params
from condgen.errors import UserError, without_password

EXPERIMENT = "condgen"
# Modules that change no output, and so are no part of what makes two runs comparable.
NO_OUTPUT = {"tracking", "preflight", "serving", "compare", "__main__", "__init__"}
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI then opens on runs, not on LLM traces
    "mlflow.note.content": "One parent run for each pipeline execution, a child run for each stage of it.",
}
STRIKES = 3  # failed calls after which a stage logs no more: it must not wait for a dead server for ever
LOCK_SECONDS = 120
# MLflow's own patience with a server that does not answer is about four minutes a call. A stage that
# begins finds out quickly whether a server is there; one that has begun gives it more time.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
CHOSEN = {name: os.environ[name] for name in PATIENT if name in os.environ}
# Set before MLflow is imported.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # log_model says at length what it cannot check about an environment it need not recreate.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402
from mlflow.data.code_dataset_source import CodeDatasetSource  # noqa: E402
from mlflow.data.meta_dataset import MetaDataset  # noqa: E402
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag  # noqa: E402


def root() -> Path:
    """The real repository, also from within the temporary copies that `dvc exp run --temp` makes."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


class Run:
    """A child run for a stage. Every method is best effort: what fails is said, and nothing stops.

    client None: untracked, every method does nothing.
    """

    def __init__(self, client: "mlflow.MlflowClient | None" = None, child: str = "", parent: str = ""):
        self.client, self.child, self.parent = client, child, parent
        self.strikes = 0 if client else STRIKES
        self.last_images: tuple[int, np.ndarray] | None = None

    @contextmanager
    def _best_effort(self) -> Iterator["mlflow.MlflowClient"]:
        """The client; after STRIKES failures something that takes any call and does nothing."""
        try:
            yield self.client if self.strikes < STRIKES else _Nothing()
        except Exception as error:
            self.strikes += 1
            end = "logs no more" if self.strikes >= STRIKES else "goes on"
            _say(f"MLflow failed ({_line(error)}); this stage {end}")

    def epoch(self, epoch: int, numbers: Mapping[str, float], images: np.ndarray | None = None) -> None:
        """An epoch's numbers, and its pictures uint8 [100, 28, 28] at epochs 0 to 10 and every fifth."""
        self.numbers(numbers, step=epoch)
        if images is None:
            return
        if epoch <= 10 or epoch % 5 == 0:
            self._image(epoch, images)
            self.last_images = None
        else:
            self.last_images = (epoch, images)

    def _image(self, epoch: int, images: np.ndarray) -> None:
        with self._best_effort() as client:
            picture = figures.mosaic(images, columns=10)
            client.log_image(self.child, picture, key="samples", step=epoch, synchronous=True)

    def numbers(self, numbers: Mapping[str, Any], step: int = 0, parent: bool = False) -> None:
        """Metrics; nested names are joined by dots; a list becomes one metric with its index as step."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, at)
            for name, values in _flat(numbers)
            for at, value in (enumerate(values) if isinstance(values, list) else [(step, values)])
        ]
        with self._best_effort() as client:
            client.log_batch(self.parent if parent else self.child, metrics=metrics)

    def artifacts(self, *paths: str, parent: bool = False) -> None:
        """Files, or folders with what is in them, under the same names as below data/."""
        with self._best_effort() as client:
            for path in map(Path, paths):
                below = path.parts[1:]
                log = client.log_artifacts if path.is_dir() else client.log_artifact
                target = "/".join(below if path.is_dir() else below[:-1]) or None
                log(self.parent if parent else self.child, str(path), target)

    def model(self, name: str, folder: str) -> None:
        """A trained generator as a pyfunc model that draws digits, loadable without this repository."""
        if self.strikes >= STRIKES:
            return
        with self._best_effort():
            from condgen import serving

            code = Path(__file__).parent
            mlflow.pyfunc.log_model(
                name=name,
                python_model=str(code / "serving.py"),
                artifacts={"model": folder},
                code_paths=[str(code)],
                signature=serving.SIGNATURE,
                pip_requirements=[f"{package}=={_version(package)}" for package in serving.PACKAGES],
            )

    def dataset(self, path: str, source: str, context: str) -> None:
        """Links the data set to stage and pipeline, named by what it holds and the MD5 of its file."""
        with self._best_effort() as client:
            meta = MetaDataset(
                CodeDatasetSource({"path": path, "source": source}), name=source, digest=_md5(Path(path))[:8]
            )
            used = DatasetInput(meta._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
            for run in (self.child, self.parent):
                client.log_inputs(run, [used])

    def describe(self, markdown: str) -> None:
        """The text that the UI shows on top of the parent run."""
        with self._best_effort() as client:
            client.set_tag(self.parent, "mlflow.note.content", markdown)

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Tags of the child run."""
        with self._best_effort() as client:
            client.log_batch(self.child, tags=[RunTag(name, str(value)) for name, value in tags.items()])

    def end(self, status: str) -> None:
        """Ends child and parent, however many calls failed before. A parent is as well as its children."""
        if self.client is None:
            return
        try:
            mlflow.end_run(status)
            experiment = self.client.get_run(self.parent).info.experiment_id
            children = self.client.search_runs([experiment], f"tags.mlflow.parentRunId = '{self.parent}'")
            worst = [s for s in ("KILLED", "FAILED") if s in {run.info.status for run in children}]
            self.client.set_terminated(self.parent, worst[0] if worst else status)
        except Exception as error:
            _say(f"MLflow failed ({_line(error)}); the run may be shown as RUNNING")


class _Nothing:
    """Takes any call and does nothing."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: None


@contextmanager
def stage(name: str) -> Iterator[Run]:
    """A child run around the work of a stage of dvc.yaml; it ends FINISHED, FAILED or KILLED.

    It shows the stage's parameters, and is tagged with the MD5 of every file below data/ that dvc.yaml says
    it reads (before the work) and writes (after it). SIGTERM ends the stage as Ctrl-C does.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    spec = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    status, run = "KILLED", Run()  # KILLED, until something else is known
    try:
        run = _start(name, spec)
        run.tags(_hashes("read", spec["deps"]))
        yield run
        if run.last_images is not None:
            run._image(*run.last_images)
        run.tags(
            _hashes("wrote", [*spec["outs"], *(key for entry in spec.get("metrics", []) for key in entry)])
        )
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        run.tags({"error": _line(error)})
        raise
    finally:
        run.end(status)
        signal.signal(signal.SIGTERM, previous)


def _terminate(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


def _start(name: str, spec: Mapping[str, Any]) -> Run:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    local = f"sqlite:///{root() / 'mlflow.db'}"
    for place in [uri, local] if uri else [local]:
        try:
            os.environ.update(IMPATIENT | CHOSEN)
            run = _start_at(_anchored(place), name, spec)
            os.environ.update(PATIENT | CHOSEN)
            return run
        except Exception as error:
            _say(f"MLflow cannot use {without_password(place)} ({_line(error)})")
            if place != local:
                _say(f"this stage is kept in {local} instead")
    _say("this stage runs untracked")
    return Run()


def _start_at(uri: str, name: str, spec: Mapping[str, Any]) -> Run:
    mlflow.set_tracking_uri(uri)
    client, experiment = _experiment(uri)
    tags = _provenance()
    values = params.flat()
    made: list[str] = []
    try:
        found = client.search_runs(
            [experiment], f"tags.execution = '{tags['execution']}' AND tags.stage = 'pipeline'"
        )
        if found:
            parent = found[0].info.run_id
            client.update_run(parent, status="RUNNING")
        else:
            its_own = {"stage": "pipeline", "mlflow.source.name": "dvc.yaml"}
            parent = client.create_run(
                experiment, tags=tags | its_own, run_name=_execution_name(tags)
            ).info.run_id
            made.append(parent)
            _log_params(client, parent, values)
        of_stage = {"stage": name, "mlflow.parentRunId": parent}
        child = client.create_run(experiment, tags=tags | of_stage, run_name=name).info.run_id
        made.append(child)
        wanted = tuple(spec.get("params", []))
        _log_params(
            client, child, {k: v for k, v in values.items() if k in wanted or k.split(".")[0] in wanted}
        )
        mlflow.start_run(run_id=child)
    except BaseException:
        for run in made:
            client.set_terminated(run, "FAILED")
        raise
    return Run(client, child, parent)


def _experiment(uri: str) -> tuple["mlflow.MlflowClient", str]:
    """A client, and the experiment's id. An experiment's artifact folder is fixed when it is first made.

    Only a server knows a place for artifacts that outlives the working directory, so elsewhere it is made
    absolute, beside the store or at the root.
    """
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    if uri.startswith(("http://", "https://", "databricks")):
        return _experiment_at(uri, name, None)
    folder = Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:///") else root()
    # Two stages that start at once must not both create the tables, which making a client does.
    with FileLock(folder / "mlflow.db.lock", timeout=LOCK_SECONDS):
        return _experiment_at(uri, name, (folder / "mlartifacts").as_uri())


def _experiment_at(uri: str, name: str, artifacts: str | None) -> tuple["mlflow.MlflowClient", str]:
    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        return client, client.create_experiment(name, artifacts, EXPERIMENT_TAGS)
    if found.lifecycle_stage == "deleted":  # in the UI; its name cannot be given again
        client.restore_experiment(found.experiment_id)
    return client, found.experiment_id


def _anchored(uri: str) -> str:
    """A relative sqlite path counts from the repository's root, not from a copy that will be deleted."""
    prefix = "sqlite:///"
    return f"{prefix}{root() / uri.removeprefix(prefix)}" if uri.startswith(prefix) else uri


def _log_params(client: "mlflow.MlflowClient", run: str, values: Mapping[str, Any]) -> None:
    client.log_batch(run, params=[Param(name, str(value)) for name, value in values.items()])


def _provenance() -> dict[str, str]:
    """Which execution, experiment, commit and changes a run belongs to, as tags."""
    status = _git("status", "--porcelain", "--", ".", ":!data", ":!dvc.lock")
    changed = [line[2:].strip() for line in status.splitlines()]
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD") or "none"
    branch = _git("symbolic-ref", "--short", "HEAD")  # none in an experiment, whose HEAD is detached
    tags = {
        "execution": _execution(),
        "code": _code(),
        "git.commit": baseline,
        "git.dirty": "true" if changed else "false",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "stages/" + Path(sys.argv[0]).name,
        "mlflow.source.git.commit": baseline,
        "mlflow.user": psutil.Process().username(),
    }
    if branch:
        tags["git.branch"] = branch
    if changed:
        tags["git.changed"] = ", ".join(changed)[:5000]
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = os.environ["DVC_EXP_NAME"]
    return tags


def _execution() -> str:
    """Names the pipeline execution this stage belongs to: the same for all stages of one `dvc repro`.

    It is the process that started the stage's shell: DVC gives its stages DVC_STAGE, so the nearest
    ancestor without it is DVC. A stage started by hand is an execution of its own.
    """
    process = psutil.Process()
    if "DVC_STAGE" in os.environ:
        try:
            process = process.parent() or process
            while "DVC_STAGE" in process.environ():
                process = process.parent() or process
        except psutil.Error:
            pass  # an ancestor that may not be looked into is not our shell
    return f"{platform.node()}-{process.pid}-{_started(process)}"


def _started(process: psutil.Process) -> str:
    """When a process started: on Linux in ticks since this boot, which no change of the clock moves."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return boot + "-" + Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"{process.create_time():.0f}"


def _execution_name(tags: Mapping[str, str]) -> str:
    return tags.get("dvc.experiment") or f"{tags.get('git.branch', 'HEAD')}@{tags['git.commit'][:7]}"


def _code() -> str:
    """Names the code that results depend on: a hash of its files, which a commit of results leaves alone."""
    package = Path(__file__).parent
    here = [*package.glob("*.py"), *package.glob("*.j2"), *(package.parents[1] / "stages").glob("*.py")]
    parts = [f"{path.name} {_md5(path)}" for path in sorted(here) if path.stem not in NO_OUTPUT]
    return hashlib.md5("\n".join(parts).encode(), usedforsecurity=False).hexdigest()[:8]


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.rstrip() if done.returncode == 0 else ""


def _hashes(prefix: str, paths: Sequence[str]) -> dict[str, str]:
    found = [Path(path) for path in paths if path.startswith("data/")]
    each = [f for p in found for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    return {f"{prefix}/{f.as_posix()}": _md5(f) for f in each}


def _md5(path: Path) -> str:
    # MD5, because it is what dvc.lock names the same files by.
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, str):
            yield prefix + name, value


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package).split("+")[0]  # a build's own mark is in no package index


def _line(error: Exception) -> str:
    """The error on one line, without the password that an address in it may hold."""
    return without_password(" ".join(str(error).split())[:300] or type(error).__name__)


def _say(text: str) -> None:
    print(f"tracking: {text}", file=sys.stderr, flush=True)


def finished() -> list[compare.Finished]:
    """Every finished pipeline run with its final numbers, from the store that stages log to.

    Raises UserError where the store cannot be read or has no such experiment.
    """
    uri = _anchored(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}")
    shown = without_password(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise UserError(f"{shown} does not exist: 'dvc repro' makes it")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    runs, token = [], None
    try:
        os.environ.update(IMPATIENT | CHOSEN)
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise UserError(f"{shown} has no experiment {name}: 'dvc repro' makes it")
        query = "tags.stage = 'pipeline' AND attributes.status = 'FINISHED'"
        while token != "":
            page = client.search_runs([experiment.experiment_id], query, page_token=token)
            runs, token = [*runs, *page], page.token or ""
    except mlflow.MlflowException as error:
        raise UserError(f"MLflow cannot read {shown}: {_line(error)}") from None
    return [_finished(run) for run in runs if run.data.metrics]


def _finished(run: "mlflow.entities.Run") -> compare.Finished:
    data = ", ".join(sorted({used.dataset.name for used in run.inputs.dataset_inputs}))
    return compare.Finished(
        name=run.info.run_name,
        started=run.info.start_time,
        params=run.data.params | {"data": data, "code": run.data.tags.get("code", "unknown")},
        metrics=run.data.metrics,
    )
