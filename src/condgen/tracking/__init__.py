"""MLflow: a view of the files, one parent run for each pipeline execution and a child for each stage.

The only package that talks to MLflow (`condgen.serving` is what it stores). No output depends on it, so no
stage lists it in its `deps`. What a stage says goes into a journal on disk, and a process of its own, the
courier, takes it to MLflow: training neither waits for MLflow nor imports it, and what MLflow cannot take
now is delivered later.

    stage ──► journal ──► courier: delivery ──► store, registry
                          lineage (files by content), store.finished (for `condgen compare`)
"""

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from condgen.base import params, pipeline
from condgen.tracking import address, courier, provenance
from condgen.tracking.journal import OUTBOX, Journal

__all__ = ["OUTBOX", "Run", "stage"]

# What loading a logged model needs; MLflow lists them with the versions at hand.
MODEL_PACKAGES = ("mlflow", "numpy", "pydantic", "pyyaml", "safetensors", "torch", "tqdm")
LAST_SECONDS = 60  # that a stage which has ended waits for its courier
KILLED_SECONDS = 10  # and one that was told to stop


class Run:
    """A child run for a stage. Nothing here raises: where the journal cannot be written, a line says so.

    journal None: untracked, every method does nothing.
    """

    def __init__(self, journal: Journal | None = None, read: Mapping[str, str] | None = None):
        self.journal = journal
        self.read = read or {}
        self.last_images: tuple[int, np.ndarray] | None = None

    def _write(self, do: str, content: Callable[[Journal], Mapping[str, Any]]) -> None:
        if self.journal is None:
            return
        try:
            self.journal.write(do, **content(self.journal))
        except Exception as error:  # a full disk, or a mistake of ours: neither may stop a stage
            courier.say(f"{do} cannot be written to {self.journal.folder} ({address.line(error)})")

    def _md5(self, path: str) -> str:
        return self.read.get(path) or pipeline.md5(Path(path))

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
        npy = io.BytesIO()
        np.save(npy, images, allow_pickle=False)
        self._write("image", lambda j: {"step": epoch, "file": j.keep_bytes("images.npy", npy.getvalue())})

    def numbers(self, numbers: Mapping[str, Any], step: int = 0, parent: bool = False) -> None:
        """Metrics; nested names are joined by dots; a list becomes one metric with its index as step."""
        if not numbers:
            return

        def content(_: Journal) -> dict:
            values = [
                (name, float(value), at)
                for name, found in _flat(numbers)
                for at, value in (enumerate(found) if isinstance(found, list) else [(step, found)])
            ]
            return {"values": values, "parent": parent}

        self._write("metrics", content)

    def artifacts(self, *paths: str, parent: bool = False) -> None:
        """Files, or folders with what is in them, under the same names as below data/."""
        for path in map(Path, paths):
            below = path.parts[1:]
            target = "/".join(below if path.is_dir() else below[:-1]) or None
            self._write(
                "artifact",
                lambda j, path=path, target=target: {
                    "file": j.keep(path), "target": target, "parent": parent,
                },
            )  # fmt: skip

    def model(self, name: str, folder: str, about: str) -> None:
        """A trained generator as a registered pyfunc model, loadable without this repository."""
        from importlib.metadata import version

        self._write(
            "model",
            lambda j: {
                "name": name,
                "about": about,
                "file": j.keep(Path(folder)),
                "code": j.keep(provenance.PACKAGE),
                "md5": pipeline.md5(Path(folder, "model.safetensors")),
                # A build's own mark (2.9.1+cpu) is in no package index.
                "requirements": [
                    f"{package}=={version(package).split('+')[0]}" for package in MODEL_PACKAGES
                ],
            },
        )

    def dataset(self, path: str, source: str, context: str) -> None:
        """Links the data set to stage and pipeline, named by what it holds and the MD5 of its file."""
        self._write(
            "dataset",
            lambda _: {"path": path, "name": source, "context": context, "md5": self._md5(path)},
        )

    def candidates(
        self,
        models: Mapping[str, Mapping[str, Any]],
        metric: str,
        better: str,
        drawn: Mapping[str, str],
        judged_by: Sequence[str],
    ) -> None:
        """Measured models, of which the better may become champion.

        models: name -> `value` of the metric, `images` and `reference_images` (how many it was measured on).
        better: "higher", "lower" or "near 1". drawn: name -> the file of the model's samples, by which the
        model is found. judged_by: the files that another run's results must share to compare with these.
        """

        def content(_: Journal) -> dict:
            judge = "+".join(self._md5(path)[:8] for path in judged_by)
            found = {
                name: {
                    **result,
                    "samples": drawn[name],
                    "samples_md5": self._md5(drawn[name]),
                    "judged_by": judge,
                }
                for name, result in models.items()
            }
            return {"metric": metric, "better": better, "models": found}

        self._write("candidates", content)

    def describe(self, markdown: str) -> None:
        """The text that the UI shows on top of the parent run."""
        self._write("describe", lambda _: {"text": markdown})

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Tags of the child run."""
        self._write("tags", lambda _: {"tags": {name: str(value) for name, value in tags.items()}})

    def wrote(self, paths: Sequence[str]) -> None:
        """Tags the child run with the MD5 of every file below data/ among these files and folders."""
        self._write(
            "tags",
            lambda _: {"tags": {f"wrote/{path}": md5 for path, md5 in pipeline.data_hashes(paths).items()}},
        )

    def end(self, status: str, error: str | None = None) -> None:
        """FINISHED, FAILED or KILLED, and why."""
        if self.journal is None:
            return
        try:
            self.journal.end(status, error)
        except OSError as full:
            courier.say(f"the end cannot be written to {self.journal.folder} ({address.line(full)})")
        self.journal.close()


@contextmanager
def stage(name: str) -> Iterator[Run]:
    """A child run around the work of a stage of dvc.yaml; it ends FINISHED, FAILED or KILLED.

    It shows the stage's parameters, and is tagged with the MD5 of every file below data/ that dvc.yaml says
    it reads (before the work) and writes (after it). SIGTERM ends the stage as Ctrl-C does.
    """
    stages = pipeline.stages()
    spec = pipeline.stage(name)
    previous = signal.signal(signal.SIGTERM, _terminate)
    status, error, run, carrier = "KILLED", None, Run(), None  # KILLED, until something else is known
    try:
        run, carrier = _start(name, stages)
        yield run
        if run.last_images is not None:
            run._image(*run.last_images)
        run.wrote(pipeline.outs(spec))
        status = "FINISHED"
    except Exception as raised:
        status, error = "FAILED", address.line(raised)
        raise
    finally:
        run.end(status, error)
        _wait_for(carrier, run.journal, killed=status == "KILLED")
        signal.signal(signal.SIGTERM, previous)


def _terminate(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


def _start(name: str, stages: Mapping[str, Any]) -> tuple[Run, subprocess.Popen | None]:
    try:
        tags = provenance.tags() | {"code": pipeline.code_digest(*stages.values())}
        read = pipeline.data_hashes(stages[name]["deps"])
        every = params.flat()
        wanted = tuple(stages[name].get("params", []))
        mine = {key: value for key, value in every.items() if key in wanted or key.split(".")[0] in wanted}
        of_stage = {
            "stage": name,
            "code": pipeline.code_digest(stages[name]),
            "mlflow.note.content": stages[name].get("desc", ""),
        }
        journal = Journal(
            pipeline.root() / OUTBOX,
            name,
            stage=name,
            uri=address.bare(address.address()),
            experiment=address.experiment(),
            execution_name=provenance.name(tags),
            tags=tags,
            of_stage=of_stage | {f"read/{path}": md5 for path, md5 in read.items()},
            params={key: str(value) for key, value in mine.items()},
            all_params={key: str(value) for key, value in every.items()},
            read=read,
            made_by={path: pipeline.maker(path, stages) for path in read},
        )
    except Exception as error:
        courier.say(
            f"{pipeline.root() / OUTBOX} cannot be written ({address.line(error)}): this stage runs untracked"
        )
        courier.dismiss()
        return Run(), None
    try:
        return Run(journal, read), courier.start(journal.folder)
    except OSError as error:
        courier.say(
            f"no process can be started ({address.line(error)}): this run is kept in {journal.folder}"
        )
        return Run(journal, read), None


def _wait_for(carrier: subprocess.Popen | None, journal: Journal | None, killed: bool) -> None:
    """Gives the courier a while to deliver the rest; what it does not manage, a later one does."""
    if carrier is None:
        return
    carrier.stdin.close()
    try:
        if carrier.wait(KILLED_SECONDS if killed else LAST_SECONDS) and journal.folder.exists():
            carrier = courier.start(journal.folder)  # somebody killed it, perhaps for its memory
            carrier.stdin.close()
            carrier.wait(KILLED_SECONDS if killed else LAST_SECONDS)
    except subprocess.TimeoutExpired:
        if killed:
            return  # it goes on by itself, for as long as MLflow answers
        carrier.kill()
        carrier.wait()
        if journal is not None and journal.folder.exists():
            courier.say(f"MLflow is slow: the rest of this run is kept in {journal.folder}")
            courier.say("the next stage delivers it, or 'python -m condgen deliver'")
    except OSError as error:
        courier.say(
            f"no process can be started ({address.line(error)}): this run is kept in {journal.folder}"
        )


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, str):
            yield prefix + name, value
