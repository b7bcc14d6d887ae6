"""MLflow: a view of the files, one parent run for each pipeline execution and a child for each stage.

The only package that talks to MLflow (`sampling.serving` is the model that it stores). What a stage reports
goes into a journal on disk, and a separate process, the courier, delivers it: training neither waits for
MLflow nor imports it, and what MLflow cannot take now is delivered later. No output depends on this package,
so no stage lists it in its `deps`.

    stage ──► journal ──► courier: delivery ──► store, registry
                          lineage (files by content), store.finished (for `condgen compare`)
"""

import functools
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from condgen.base import params, pipeline
from condgen.base.errors import UserError, one_line, without_secrets
from condgen.tracking import address, courier, provenance
from condgen.tracking.journal import OUTBOX, Journal

__all__ = ["OUTBOX", "Run", "stage"]

# What `sampling.serving` imports when MLflow loads a logged model.
MODEL_PACKAGES = ("mlflow", "numpy", "pydantic", "safetensors", "torch")
WAIT_SECONDS = 30  # that a stage which has ended gives its courier; 'dvc repro' waits for both


def _reported(method: Callable[..., None]) -> Callable[..., None]:
    """Makes a method of a run that raises nothing, and does nothing if the run is untracked."""

    @functools.wraps(method)
    def call(run: "Run", *args: Any, **options: Any) -> None:
        try:
            if run.tracked:
                method(run, *args, **options)
        except Exception as error:  # a full disk, or our own mistake: neither may stop a stage
            if run.journal.deleted():
                run.tracked = False
                courier.say(f"{run.journal.folder} was deleted: this stage goes on untracked")
                return
            said = f"{method.__name__} cannot be written to {run.journal.folder} ({one_line(error)})"
            courier.say(said)

    return call


class Run:
    """A stage's run. Methods raise nothing; what cannot be written is reported on stderr.

    journal None: untracked, every method does nothing. read: file below data/ -> MD5, as far as known.
    """

    def __init__(self, journal: Journal | None = None, read: Mapping[str, str] | None = None):
        self.tracked = journal is not None
        if journal is not None:
            self.journal = journal
        self.read = read or {}
        self.last_images: tuple[int, np.ndarray] | None = None

    def epoch(self, epoch: int, numbers: Mapping[str, float], images: np.ndarray | None = None) -> None:
        """An epoch's numbers, and some epochs' pictures, uint8 `[n, ...]`: all would be too many."""
        self.numbers(numbers, step=epoch)
        if images is not None:
            self.last_images = (epoch, images)
        if epoch <= 10 or epoch % 5 == 0:
            self.images()

    @_reported
    def images(self) -> None:
        """The pictures of the last epoch that had any, shown as one, unless they are kept already."""
        if self.last_images is not None:
            (step, images), self.last_images = self.last_images, None
            file = self.journal.new("images.npy")
            np.save(self.journal.folder / file, images, allow_pickle=False)
            self.journal.write("image", step=step, file=file)

    @_reported
    def numbers(self, numbers: Mapping[str, Any], step: int = 0, parent: bool = False) -> None:
        """Metrics; a name within a section follows a dot; a list is one metric with its index as step."""
        values = [
            (name, float(value), at)
            for name, found in params.dotted(dict(numbers)).items()
            if not isinstance(found, str)
            for at, value in (enumerate(found) if isinstance(found, list) else [(step, found)])
        ]
        self.journal.write("metrics", values=values, parent=parent)

    def artifacts(self, *paths: str, parent: bool = False) -> None:
        """Files, or folders with their content, under the same names as below data/."""
        for path in map(Path, paths):
            self.artifact(path, parent)

    @_reported
    def artifact(self, path: Path, parent: bool) -> None:
        """One of them: the others are kept if it cannot be."""
        target = "/".join(path.parts[1:-1]) or None
        self.journal.write("artifact", file=self.journal.keep(path), target=target, parent=parent)

    @_reported
    def model(self, name: str, folder: str, about: str, classes: Sequence[str], shape: Sequence[int]) -> None:
        """A trained generator as a registered pyfunc model, loadable without this repository.

        classes: their names. shape: of an image in files.
        """
        self.journal.write(
            "model",
            name=name,
            about=about,
            classes=list(classes),
            shape=list(shape),
            file=self.journal.keep(Path(folder)),
            code=self.journal.keep(provenance.PACKAGE, leave_out=["weights"]),
            md5=pipeline.md5(Path(folder, "model.safetensors")),
            # No package index has a build's local version (2.9.1+cpu).
            requirements=[f"{package}=={version(package).split('+')[0]}" for package in MODEL_PACKAGES],
        )

    @_reported
    def dataset(self, path: str, source: str, context: str) -> None:
        """The data set of stage and pipeline, named by its source and the MD5 of its file."""
        self.journal.write("dataset", path=path, name=source, context=context, md5=self._md5(path))

    @_reported
    def results(
        self, models: Mapping[str, Mapping[str, float]], drawn: Mapping[str, str], path: str, source: str
    ) -> None:
        """What was measured of each model, shown with the logged model, by which models can be sorted.

        models: name -> metric -> value. drawn: name -> the file of the model's samples, by which the model is
        found. path, source: the data set that it was measured against, its file and name.
        """
        found = {
            name: {"values": dict(values), "samples": drawn[name], "samples_md5": self._md5(drawn[name])}
            for name, values in models.items()
        }
        self.journal.write("results", models=found, name=source, md5=self._md5(path))

    @_reported
    def candidates(
        self,
        models: Mapping[str, Mapping[str, Any]],
        metric: str,
        better: str,
        drawn: Mapping[str, str],
        judged_by: Sequence[str],
    ) -> None:
        """Measured models; a better one becomes champion.

        models: name -> `value` of the metric, `images` and `reference_images` (how many it was measured on).
        better: "higher", "lower" or "near 1". drawn: name -> the file of the model's samples, by which the
        model is found. judged_by: the files that another run's results must share to compare with these.
        """
        judge = "+".join(self._md5(path)[:8] for path in judged_by)
        found = {
            name: dict(result, samples=drawn[name], samples_md5=self._md5(drawn[name]), judged_by=judge)
            for name, result in models.items()
        }
        self.journal.write("candidates", metric=metric, better=better, models=found)

    def describe(self, markdown: str) -> None:
        """The text that the UI shows on top of the parent run."""
        self.tags({"note": markdown}, parent=True)

    @_reported
    def tags(self, tags: Mapping[str, Any], parent: bool = False) -> None:
        """Tags of the child run, or of its parent."""
        self.journal.write("tags", tags={name: str(value) for name, value in tags.items()}, parent=parent)

    @_reported
    def wrote(self, paths: Sequence[str]) -> None:
        """Tags the child run with the MD5 of every file below data/ among these files and folders."""
        self.tags({f"{provenance.WROTE[0]}{path}": md5 for path, md5 in pipeline.data_hashes(paths).items()})

    @_reported
    def end(self, status: str, error: str | None) -> None:
        """FINISHED, FAILED or KILLED, and why."""
        self.journal.end(status, error)

    def _md5(self, path: str) -> str:
        return self.read.get(path) or pipeline.md5(Path(path))


@contextmanager
def stage(name: str) -> Iterator[Run]:
    """A child run around the work of a stage of dvc.yaml; it ends FINISHED, FAILED or KILLED.

    It has the stage's parameters, and tags with the MD5 of every file below data/ that dvc.yaml says it reads
    (before the work) and writes (after it). SIGTERM ends the stage as Ctrl-C does.
    """
    stages, spec = pipeline.stages(), pipeline.stage(name)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    status, error, run, process = "KILLED", None, Run(), None  # KILLED, until something else is known
    try:
        run, process = _start(name, stages)
        yield run
        run.images()
        run.wrote(pipeline.outs(spec))
        status = "FINISHED"
    except KeyboardInterrupt:
        error = provenance.why_stopped()
        raise
    except Exception as raised:
        status, error = "FAILED", one_line(raised)
        raise
    finally:
        run.end(status, error)
        if process is not None:
            _wait_for(process, run)
        signal.signal(signal.SIGTERM, previous)


def _start(name: str, stages: pipeline.Stages) -> tuple[Run, subprocess.Popen | None]:
    """A run with its journal and its courier; without them where they cannot be had."""
    outbox, run = pipeline.root() / OUTBOX, Run()
    why, then = f"{outbox} cannot be written", "this stage runs untracked"
    try:
        address.address()  # raises UserError if MLflow cannot use it
        start = _description(name, stages)
        run = Run(Journal(outbox, name, **start), start["read"])
        why, then = "no process can be started", f"this run is kept in {run.journal.folder}"
        return run, courier.start(run.journal.folder)
    except UserError as error:
        courier.say(f"{error}: this stage runs untracked")
        return Run(), None
    except Exception as error:
        courier.say(f"{why} ({one_line(error)}): {then}")
        return run, None


def _description(name: str, stages: pipeline.Stages) -> dict[str, Any]:
    """What the journal's first event says of a run: where it goes, what it reads, and its tags."""
    spec, every = stages[name], {key: str(value) for key, value in params.flat().items()}
    wanted, read = spec.get("params", []), pipeline.data_hashes(spec["deps"])
    tags = provenance.tags() | {"code": pipeline.code_digest(*stages.values())}
    own = {"stage": name, "code": pipeline.code_digest(spec), "mlflow.note.content": spec.get("desc", "")}
    return {
        "stage": name,
        "uri": without_secrets(address.given()),
        "experiment": address.experiment(),
        "execution_name": provenance.name(tags),
        "tags": tags,
        "of_stage": tags | own | {f"{provenance.READ[0]}{path}": md5 for path, md5 in read.items()},
        "params": {k: v for k, v in every.items() if k in wanted or k.split(".")[0] in wanted},
        "all_params": every,
        "read": read,
        "made_by": {path: maker for path in read if (maker := pipeline.maker(path, stages))},
    }


def _wait_for(process: subprocess.Popen, run: Run) -> None:
    """Gives the courier time for the rest; it goes on by itself for as long as MLflow answers.

    One that was killed is replaced: after a pipeline's last stage nobody else would deliver.
    """
    folder = run.journal.folder
    try:
        process.communicate(timeout=WAIT_SECONDS)  # closes the pipe: the stage has ended
        if process.returncode and folder.exists():
            courier.start(folder).communicate(timeout=WAIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        pass
    if folder.exists():
        courier.say(f"MLflow does not have all of this run: it is kept in {folder}")
        courier.say("the next stage delivers it, or 'python -m condgen deliver'")
