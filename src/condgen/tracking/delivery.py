"""A journal becomes a run in MLflow: at once while a stage works, or much later, with the same result.

What MLflow has of a journal is remembered beside it, after every step. A step that was taken but not
remembered, because the process or the answer was lost, is taken again and changes nothing.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from filelock import FileLock, Timeout
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import (
    DatasetInput,
    InputTag,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

from condgen.base import files
from condgen.base.pictures import mosaic
from condgen.tracking import journal, lineage, registry
from condgen.tracking.address import address, bare, line
from condgen.tracking.journal import Event
from condgen.tracking.store import FIRST, LOCK_SECONDS, Store, connect, patience, use

# What another try would not change: MLflow has understood, and refuses.
REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_LIMIT_EXCEEDED"}
MAYBE = {"BAD_REQUEST"}  # also what MLflow says when its database is in trouble
TRIES = 5
BATCH = 1000  # metrics that MLflow takes in one request
STATE = "delivered.json"
REPORT = "report.html"


class Delivery:
    """One journal on its way to the store that its first event names: `with Delivery(...) as d: d.advance()`.

    Entering raises Timeout where another process delivers this journal.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], to: str | None = None):
        """to: an address to deliver to instead, with its password if it has one."""
        self.folder, self.say, self.to = folder, say, to
        self.lock = FileLock(folder / "courier.lock", timeout=0)
        self.store: Store | None = None
        self.state: dict[str, Any] = {}
        self.start: Event | None = None
        self.unsure = True  # whether the next step may have been taken already

    def __enter__(self) -> "Delivery":
        if not self.folder.is_dir():  # delivered by now; the lock would make it again
            raise Timeout(str(self.folder))
        self.lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def advance(self) -> bool:
        """Delivers what there is. True: nothing is left, and the journal is gone.

        Raises whatever MLflow raises where it cannot be used; the journal is then as good as before, and
        `advance` may be called again, by this or by another process.
        """
        events = journal.events(self.folder)
        if not events:
            return False
        try:
            self._deliver(events)
        except Exception:
            self.unsure, self.store = True, None  # it may be another, or an emptied one, next time
            raise
        if events[-1]["do"] != "end":
            return False
        journal.remove(self.folder)
        return True

    def _deliver(self, events: list[Event]) -> None:
        self.start = events[0]
        if self.store is None:
            self.store = connect(self.to or _with_password(self.start["uri"]), self.start["experiment"])
            self._load_state()
        use(self.store.uri)  # another delivery in this process may have chosen another
        for steps in _steps(events[self.state["count"] :]):
            refusal = self._try(steps)
            # Of many numbers, those that are not to blame are taken one by one.
            refusals = [self._try([event]) for event in steps] if refusal and len(steps) > 1 else [refusal]
            for error in filter(None, refusals):
                self.say(f"MLflow refused {steps[0]['do']} of {self.folder.name}: {line(error)}")
            self.state["count"] += len(steps)
            self.state.pop("tries", None)
            self._save_state()
            self.unsure = False

    def _try(self, steps: list[Event]) -> MlflowException | None:
        """Takes a step. Returns why MLflow refuses it, and always will; raises what may pass."""
        try:
            self._take(steps)
            return None
        except MlflowException as error:
            if error.error_code in MAYBE:
                self.state["tries"] = self.state.get("tries", 0) + 1
                self._save_state()
            refused = error.error_code in REFUSED or self.state.get("tries", 0) >= TRIES
            if not refused or steps[0]["do"] == "start":
                raise
            return error

    def _load_state(self) -> None:
        """What this store has of the journal; nothing, if that was another store, or has lost the run."""
        fresh = {"uri": bare(self.store.uri), "count": 0}
        try:
            self.state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.state = fresh
        if self.state.get("uri") != fresh["uri"] or not self._has_run():
            self.state = fresh

    def _has_run(self) -> bool:
        try:
            return bool(self.state["count"] and self.store.client.get_run(self.state["run"]))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _save_state(self) -> None:
        files.write(self.folder / STATE, json.dumps(self.state).encode())

    def _take(self, events: list[Event]) -> None:
        """One step: an event, or numbers that followed one another."""
        kind = events[0]["do"]
        getattr(self, f"_{kind}")(events if kind == "metrics" else events[0])

    def _where(self, event: Event) -> str:
        return self.state["parent" if event.get("parent") else "run"]

    # What follows is one method for each kind of event.

    def _start(self, event: Event) -> None:
        client = self.store.client
        parent = self._parent(event)
        found = next(self.store.runs(f"tags.journal = '{self.folder.name}'", newest=1), None)
        run = found or client.create_run(
            self.store.experiment,
            start_time=event["at"],
            tags=event["tags"]
            | event["of_stage"]
            | {"mlflow.parentRunId": parent, "journal": self.folder.name},
            run_name=f"{event['stage']} · {event['execution_name']}",
        )
        _log_params(client, run.info.run_id, event["params"])
        self.state |= {"run": run.info.run_id, "parent": parent}

    def _parent(self, event: Event) -> str:
        """The run of the pipeline execution; its first stage makes it."""
        client, tags = self.store.client, event["tags"]
        # An execution belongs to one machine, so a lock on this one is enough.
        with FileLock(self.folder.parent / "parent.lock", timeout=LOCK_SECONDS):
            query = f"tags.execution = '{tags['execution']}' AND tags.stage = 'pipeline'"
            found = next(self.store.runs(query, newest=1), None)
            if found is None:
                its_own = {"stage": "pipeline", "mlflow.source.name": "dvc.yaml"}
                found = client.create_run(
                    self.store.experiment, event["at"], tags | its_own, event["execution_name"]
                )
            elif found.info.status != "RUNNING":
                client.update_run(found.info.run_id, status="RUNNING")
            if not found.data.params:
                _log_params(client, found.info.run_id, event["all_params"])
        return found.info.run_id

    def _metrics(self, events: list[Event]) -> None:
        for run, group in groupby(events, key=self._where):
            metrics = [
                Metric(name, value, event["at"], step)
                for event in group
                for name, value, step in event["values"]
            ]
            for first in range(0, len(metrics), BATCH):
                self.store.client.log_batch(run, metrics=metrics[first : first + BATCH])

    def _image(self, event: Event) -> None:
        run, step = self.state["run"], event["step"]
        there = self.store.client.list_artifacts(run, "images") if self.unsure else []
        if sum(f"+step+{step}+" in artifact.path for artifact in there) >= 2:  # it and its thumbnail
            self.store.client.set_tag(run, MLFLOW_LOGGED_IMAGES, True)
        else:
            images = np.load(self.folder / event["file"], allow_pickle=False)
            self.store.client.log_image(
                run, mosaic(images, columns=10), key="samples",
                step=step, timestamp=event["at"], synchronous=True,
            )  # fmt: skip

    def _artifact(self, event: Event) -> None:
        path = self.folder / event["file"]
        log = self.store.client.log_artifacts if path.is_dir() else self.store.client.log_artifact
        log(self._where(event), str(path), event["target"])

    def _dataset(self, event: Event) -> None:
        source = CodeDatasetSource({"path": event["path"], "source": event["name"]})
        meta = MetaDataset(source, name=event["name"], digest=event["md5"][:8])
        used = DatasetInput(meta._to_mlflow_entity(), [InputTag("mlflow.data.context", event["context"])])
        for run in (self.state["run"], self.state["parent"]):
            self.store.client.log_inputs(run, [used])

    def _tags(self, event: Event) -> None:
        tags = [RunTag(name, value) for name, value in event["tags"].items()]
        self.store.client.log_batch(self._where(event), tags=tags)

    def _model(self, event: Event) -> None:
        """Logs a pyfunc model made of files and code, and registers it."""
        client, run = self.store.client, self.state["run"]
        model_id = None
        for output in client.get_run(run).outputs.model_outputs if self.unsure else []:
            try:
                if client.get_logged_model(output.model_id).status == LoggedModelStatus.READY:
                    model_id = output.model_id
                else:
                    client.delete_logged_model(output.model_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted, here or in the UI
                    raise
        if model_id is None:
            code = self.folder / event["code"]
            mlflow.set_experiment(experiment_id=self.store.experiment)  # whose folder takes the files
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it wants an example beside the signature
                from condgen.sampling import serving  # a second of importing that few journals need

                model_id = mlflow.models.Model.log(
                    artifact_path=None,
                    name=event["name"],
                    flavor=mlflow.pyfunc,
                    flavor_name="pyfunc.ModelFromCode",
                    run_id=run,
                    python_model=str(code / "sampling/serving.py"),
                    artifacts={"model": str(self.folder / event["file"])},
                    code_paths=[str(code)],
                    signature=serving.SIGNATURE,
                    pip_requirements=event["requirements"],
                ).model_id
        registry.register(self.store, event["name"], event["about"], model_id, run, event["md5"])

    def _candidates(self, event: Event) -> None:
        """Models that were measured. Which they are is found by content: samples <- stage sample <- model."""
        if any(
            other.name < self.folder.name and journal.execution(other) == self.start["tags"]["execution"]
            for other in journal.waiting(self.folder.parent)
        ):
            raise RuntimeError("an earlier stage of this run is not delivered yet")
        verdicts = {}
        for model, found in event["models"].items():
            md5 = lineage.model_of_samples(self.store, found["samples"], found["samples_md5"], model)
            result = {k: found[k] for k in ("value", "images", "reference_images", "judged_by")}
            if md5 is None:
                verdicts[f"registry.{model}"] = "the model that drew these samples is in no run"
                continue
            with FileLock(self.folder.parent / "champion.lock", timeout=LOCK_SECONDS):
                verdict = registry.promote_if_better(
                    self.store, model, md5, event["metric"], event["better"], result
                )
            verdicts[f"registry.{model}"] = verdict
        self._tags({"tags": verdicts})

    def _end(self, event: Event) -> None:
        """Ends the child, and the parent, which is as well as its children."""
        client, run, parent = self.store.client, self.state["run"], self.state["parent"]
        if event.get("error"):
            client.set_tag(run, "error", event["error"])
        client.set_terminated(run, event["status"], event["at"])
        children = list(self.store.runs(f"tags.mlflow.parentRunId = '{parent}'"))
        self._reused(children)
        statuses = {child.info.status for child in children}
        worst = next(s for s in ("RUNNING", "KILLED", "FAILED", "FINISHED") if s in statuses)
        if worst != "RUNNING":
            ended = max(child.info.end_time or 0 for child in children)
            client.set_terminated(parent, worst, ended)

    def _reused(self, children: Iterable[Run]) -> None:
        """Where DVC had a stage's result, the parent names the run that made it, found by its hash."""
        ran = {child.data.tags["stage"] for child in children}
        made_by = self.start["made_by"]
        missing = {s: (path, self.start["read"][path]) for path, s in made_by.items() if s not in ran}
        tags = {}
        for stage, (path, md5) in missing.items():
            maker = lineage.maker(self.store, path, md5)
            tags[f"reused.{stage}"] = maker.info.run_name if maker else "a run that is not in this store"
            if maker:
                tags[f"reused.{stage}.run"] = maker.info.run_id
        if not tags:
            return
        client, parent = self.store.client, self.state["parent"]
        client.log_batch(parent, tags=[RunTag(key, value) for key, value in tags.items()])
        self._note(client.get_run(parent).data.tags)

    def _describe(self, event: Event) -> None:
        client, parent = self.store.client, self.state["parent"]
        client.set_tag(parent, "note", event["text"])
        self._note(client.get_run(parent).data.tags)

    def _note(self, tags: Mapping[str, str]) -> None:
        """The description of the parent: what it came to, and which stages did not run again."""
        run = self.state["parent"]
        text = tags.get("note", "")
        if any(artifact.path == REPORT for artifact in self.store.client.list_artifacts(run)):
            text = f"[The report]({self.store.link(run)}/artifacts/{REPORT})\n\n{text}"
        stages = [key.split(".")[1] for key in tags if key.startswith("reused.") and key.endswith(".run")]
        for stage in sorted(stages):
            maker, page = tags[f"reused.{stage}"], self.store.link(tags[f"reused.{stage}.run"])
            text += f"\n\n`{stage}` did not run again: its result is that of [{maker}]({page})."
        self.store.client.set_tag(run, "mlflow.note.content", text.strip())


def _with_password(uri: str) -> str:
    """The address at hand, if it is this one but for the login, which no journal holds."""
    return address() if bare(address()) == uri else uri


def _steps(events: Iterable[Event]) -> Iterable[list[Event]]:
    """Events one by one, but numbers that follow one another together."""
    for kind, group in groupby(events, key=lambda event: event["do"]):
        if kind == "metrics":
            yield list(group)
        else:
            yield from ([event] for event in group)


def _log_params(client: "mlflow.MlflowClient", run: str, values: Mapping[str, str]) -> None:
    client.log_batch(run, params=[Param(name, value) for name, value in values.items()])


def deliver_all(outbox: Path, say: Callable[[str], None], to: str | None = None) -> tuple[int, int]:
    """Delivers every journal whose stage has ended, the oldest first. Returns (delivered, left over)."""
    delivered, left = 0, 0
    journal.sweep(outbox)
    for folder in journal.waiting(outbox):
        if not journal.over(folder):
            continue
        patience(*FIRST)
        try:
            with Delivery(folder, say, to) as delivery:
                done = delivery.advance()
            delivered, left = delivered + done, left + (not done)
        except Timeout:
            pass  # another process delivers it
        except Exception as error:
            left += 1
            say(f"{folder.name} is not delivered: {line(error)}")
    return delivered, left
