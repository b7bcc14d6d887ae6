"""MLflow: a view of the files, one parent run for each pipeline execution and a child for each stage.

The only module that talks to MLflow (`serving` is what it stores). No output depends on it, so no stage
lists it in its `deps`. Where MLflow cannot be used, a line says so and the stage goes on.
"""

import hashlib
import os
import re
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
from filelock import FileLock

from condgen import figures, params

EXPERIMENT = "condgen"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI then opens on runs, not on LLM traces
    "mlflow.note.content": "One parent run for each pipeline execution, a child run for each stage of it.",
}
# Set before MLflow is imported. Its own patience with a server that does not answer is about four
# minutes a call, and it reports usage to its makers unless told not to.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
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
    """A child run for a stage. Every method is best effort: what fails is said once, and nothing stops."""

    def __init__(self, client: "mlflow.MlflowClient | None", child: str = "", parent: str = ""):
        self.client, self.child, self.parent = client, child, parent
        self.last_images: tuple[int, np.ndarray] | None = None

    @contextmanager
    def _best_effort(self) -> Iterator["mlflow.MlflowClient"]:
        """The client, or nothing at all once a call has failed: no stage waits for a dead server twice."""
        try:
            yield self.client or _Nothing()
        except Exception as error:
            if self.client is not None:
                _say(f"MLflow failed ({_line(error)}); this stage goes on and logs no more")
            self.client = None

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
                folder = "/".join(path.parts[1:-1]) or None
                log = client.log_artifacts if path.is_dir() else client.log_artifact
                target = "/".join(path.parts[1:]) if path.is_dir() else folder
                log(self.parent if parent else self.child, str(path), target)

    def model(self, name: str, folder: str) -> None:
        """A trained generator as a pyfunc model that draws digits, loadable without this repository."""
        with self._best_effort():
            if self.client is None:
                return
            code = Path(__file__).parent
            from condgen.serving import SIGNATURE

            mlflow.pyfunc.log_model(
                name=name,
                python_model=str(code / "serving.py"),
                artifacts={"model": folder},
                code_paths=[str(code)],
                signature=SIGNATURE,
                pip_requirements=[
                    f"{package}=={_version(package)}"
                    for package in (
                        "mlflow",
                        "numpy",
                        "pydantic",
                        "pyyaml",
                        "safetensors",
                        "torch",
                        "tqdm",
                    )
                ],
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


class _Nothing:
    """Takes any call and does nothing."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: None


@contextmanager
def stage(name: str, sections: Sequence[str], reads: Sequence[str], writes: Sequence[str]) -> Iterator[Run]:
    """A child run around a stage's work; it ends FINISHED, FAILED or KILLED, and so does the parent.

    sections: which parts of params.yaml the child shows. reads, writes: files or folders whose MD5 it is
    tagged with, the same that dvc.lock holds. SIGTERM ends the stage as Ctrl-C does.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    run = _start(name, sections)
    run.tags(_hashes("read", reads))
    status = "FAILED"
    try:
        yield run
        if run.last_images is not None:
            run._image(*run.last_images)
        run.tags(_hashes("wrote", writes))
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except Exception as error:
        run.tags({"error": _line(error)})
        raise
    finally:
        with run._best_effort() as client:
            mlflow.end_run(status)
            client.set_terminated(run.parent, status)
        signal.signal(signal.SIGTERM, previous)


def _terminate(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


def _start(name: str, sections: Sequence[str]) -> Run:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    local = f"sqlite:///{root() / 'mlflow.db'}"
    for place in [uri, local] if uri else [local]:
        try:
            return _start_at(_anchored(place), name, sections)
        except Exception as error:
            _say(f"MLflow cannot use {_without_password(place)} ({_line(error)})")
            if place != local:
                _say(f"this stage is kept in {local} instead")
    _say("this stage runs untracked")
    return Run(None)


def _start_at(uri: str, name: str, sections: Sequence[str]) -> Run:
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    experiment = _experiment(client, uri)
    tags = _provenance()
    execution = tags["execution"]
    found = client.search_runs([experiment], f"tags.execution = '{execution}' AND tags.stage = 'pipeline'")
    if found:
        parent = found[0].info.run_id
        client.update_run(parent, status="RUNNING")
    else:
        its_own = {"stage": "pipeline", "mlflow.source.name": "dvc.yaml"}
        parent = client.create_run(
            experiment, run_name=_execution_name(tags), tags=tags | its_own
        ).info.run_id
        _log_params(client, parent, params.flat())
    child = client.create_run(
        experiment, run_name=name, tags=tags | {"stage": name, "mlflow.parentRunId": parent}
    ).info.run_id
    mlflow.start_run(run_id=child)
    chosen = {k: v for k, v in params.flat().items() if k.split(".")[0] in sections}
    _log_params(client, child, chosen)
    return Run(client, child, parent)


def _experiment(client: "mlflow.MlflowClient", uri: str) -> str:
    """The experiment's id. Its artifact folder is fixed when it is first made, so it is made absolute."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    if not uri.startswith("sqlite:"):
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name, tags=EXPERIMENT_TAGS)
    folder = Path(uri.removeprefix("sqlite:///")).parent
    # Two stages that start at once must not both create the tables.
    with FileLock(folder / "mlflow.db.lock"):
        found = client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        return client.create_experiment(name, (folder / "mlartifacts").as_uri(), EXPERIMENT_TAGS)


def _anchored(uri: str) -> str:
    """A relative sqlite path counts from the repository's root, not from a copy that will be deleted."""
    prefix = "sqlite:///"
    return f"{prefix}{root() / uri.removeprefix(prefix)}" if uri.startswith(prefix) else uri


def _log_params(client: "mlflow.MlflowClient", run: str, values: Mapping[str, Any]) -> None:
    client.log_batch(run, params=[Param(name, str(value)) for name, value in values.items()])


def _provenance() -> dict[str, str]:
    """Which execution, experiment, commit and changes a run belongs to, as tags."""
    changed = [
        line[3:] for line in _git("status", "--porcelain", "--", ".", ":!data", ":!dvc.lock").splitlines()
    ]
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD") or "none"
    branch = _git("symbolic-ref", "--short", "HEAD")  # none in an experiment, whose HEAD is detached
    tags = {
        "execution": _execution(),
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
    return f"{process.create_time():.2f}-{process.pid}"


def _execution_name(tags: Mapping[str, str]) -> str:
    return tags.get("dvc.experiment") or f"{tags.get('git.branch', 'HEAD')}@{tags['git.commit'][:7]}"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.rstrip() if done.returncode == 0 else ""


def _hashes(prefix: str, paths: Sequence[str]) -> dict[str, str]:
    found = [Path(p) for p in paths]
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
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return _without_password(text)


def _without_password(text: str) -> str:
    return re.sub(r"(//[^/@\s:]*):[^/@\s]*@", r"\1:***@", text)


def _say(text: str) -> None:
    print(f"tracking: {text}", file=sys.stderr, flush=True)
