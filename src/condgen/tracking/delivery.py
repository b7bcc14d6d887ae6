"""A journal becomes a run in MLflow: at once while a stage works, or much later, with the same result.

How many events MLflow has is kept beside the journal. An event that was delivered but not counted, because
the process or the answer was lost, is delivered again and changes nothing.
"""

import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
from filelock import FileLock, Timeout
from mlflow import entities
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

from condgen.base import files
from condgen.base.errors import UserError, one_line, without_secrets
from condgen.base.pictures import mosaic
from condgen.tracking import journal, lineage, registry
from condgen.tracking.address import address, given
from condgen.tracking.journal import Event
from condgen.tracking.store import connect

REFUSED = "INVALID_PARAMETER_VALUE"  # MLflow has understood, and would say the same to another try
STATE = "delivered.json"
FINAL = "final.png"  # the last pictures of a training, as an artifact
ALONE_SECONDS = 120  # that another process may take for what one does alone
DIGITS = 6  # significant ones of a metric, for people to read; the files have them all


class Delivery:
    """Delivers one journal to the store that its first event names: `with Delivery(...) as d: d.advance()`.

    Entering raises journal.Taken.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], to: str | None = None):
        """to: an address to deliver to instead, with its password if it has one."""
        self.folder, self.say, self.to = folder, say, to
        self.lock = FileLock(folder / "courier.lock", timeout=0)
        # For what two processes of this machine must not do at once.
        self.alone = FileLock(folder.parent / "store.lock", timeout=ALONE_SECONDS)
        self.connected = False
        self.events: list[Event] = []
        # What the stage takes of the machine, to be delivered: metric, value, milliseconds, step.
        self.usage: list[tuple[str, float, int, int]] = []

    def __enter__(self) -> "Delivery":
        if not self.folder.is_dir():  # taking the lock would create it again
            raise journal.Taken(str(self.folder))
        try:
            self.lock.acquire()
        except Timeout:
            raise journal.Taken(str(self.folder)) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def advance(self) -> bool:
        """Delivers what there is. True: nothing is left, and the journal is gone.

        Raises what MLflow raises where it cannot be used. Nothing is lost then: `advance` may be called
        again, by this process or another.
        """
        self.events = events = journal.events(self.folder)
        if not events:  # someone deleted it
            if self.connected:
                error = f"{self.folder} was deleted while the stage ran"
                self._end({"at": int(time.time() * 1000), "status": "KILLED", "error": error})
            return True
        try:
            if not self.connected:
                self._begin(events[0])
            if self.usage:
                self._deliver({"do": "usage", "values": self.usage})
                self.usage = []
            for event in events[self.count :]:
                self._deliver(event)
                self.count += 1
                files.write_json(self.folder / STATE, {"run": self.run, "count": self.count})
        except Exception:
            self.connected = False  # next time it may be another server, or an emptied one
            raise
        done = events[-1]["do"] == "end"
        if done:
            journal.remove(self.folder)
        return done

    def _begin(self, start: Event) -> None:
        """Finds the runs of execution and stage, or creates them, and how many events MLflow has."""
        self.start = start
        with self.alone:  # of the tables of a new data base, and of the parent run, there must be only one
            self.store = connect(address(self.to or _with_password(start["uri"])), start["experiment"])
            of_execution = f"tags.execution = '{start['tags']['execution']}' AND tags.stage = 'pipeline'"
            tags = start["tags"] | {"stage": "pipeline", "mlflow.source.name": "dvc.yaml"}
            parent = self._find_or_create(of_execution, start["execution_name"], tags)
            self.parent = parent.info.run_id
            if not parent.data.params:
                self._params(self.parent, start["all_params"])
            name = f"{start['stage']} · {start['execution_name']}"
            tags = start["of_stage"] | {"mlflow.parentRunId": self.parent, "journal": self.folder.name}
            run = self._find_or_create(f"tags.journal = '{self.folder.name}'", name, tags)
            self.run = run.info.run_id
        self._params(self.run, start["params"])
        if run.info.status == "RUNNING":  # the parent may have ended with the stage before
            self.store.client.update_run(self.parent, status="RUNNING")
        try:
            state = files.read_json(self.folder / STATE)
        except UserError:  # nothing is delivered yet, or the machine lost power
            state = {}
        # Another run: this is another store, or it has lost the run, and gets all of the journal again.
        self.count = state["count"] if state.get("run") == self.run else 1
        self.connected = True

    def _find_or_create(self, query: str, name: str, tags: dict[str, str]) -> entities.Run:
        store = self.store
        return store.latest(query) or store.client.create_run(store.experiment, self.start["at"], tags, name)

    def _params(self, run: str, values: dict[str, str]) -> None:
        self.store.client.log_batch(run, params=[entities.Param(*item) for item in values.items()])

    def _set_tags(self, run: str, values: dict[str, str]) -> None:
        self.store.client.log_batch(run, tags=[entities.RunTag(*item) for item in values.items()])

    def _deliver(self, event: Event) -> None:
        try:
            getattr(self, f"_{event['do']}")(event)
        except MlflowException as error:
            if error.error_code != REFUSED:
                raise
            self.say(f"MLflow refused {event['do']} of {self.folder.name}: {one_line(error)}")

    def _where(self, event: Event) -> str:
        return self.parent if event.get("parent") else self.run

    def _wait_for_earlier(self) -> None:
        """Raises RuntimeError while MLflow lacks earlier runs of this execution: content finds them."""
        if any(
            other.name < self.folder.name and journal.execution(other) == self.start["tags"]["execution"]
            for other in journal.waiting(self.folder.parent)
        ):
            raise RuntimeError("an earlier stage of this run is not delivered yet")

    def _logged_model(self, run: str | None) -> entities.LoggedModel | None:
        """The model that a training run has logged."""
        found = self.store.client.search_logged_models(
            [self.store.experiment], f"source_run_id = '{run}'", max_results=1
        )
        return found[0] if found else None

    # One method for each kind of event.

    def _metrics(self, event: Event) -> None:
        metrics = [
            entities.Metric(name, _rounded(value), event["at"], step) for name, value, step in event["values"]
        ]
        self.store.client.log_batch(self._where(event), metrics=metrics)

    def _usage(self, event: Event) -> None:
        """What the stage took of the machine, as its courier saw it."""
        metrics = [
            entities.Metric(name, _rounded(value), at, step) for name, value, at, step in event["values"]
        ]
        self.store.client.log_batch(self.run, metrics=metrics)

    def _image(self, event: Event) -> None:
        if (images := self._images_of(event)) is not None:
            self._picture("samples", images, event["step"], event["at"])

    def _images_of(self, event: Event) -> np.ndarray | None:
        """The pictures of an event as one, uint8 `[h, w, ...]`; None if the machine lost power over them."""
        try:
            return mosaic(np.load(self.folder / event["file"], allow_pickle=False), columns=10)
        except (OSError, ValueError, EOFError) as error:
            self.say(f"pictures of {self.folder.name} are lost: {one_line(error)}")
            return None

    def _picture(self, key: str, images: np.ndarray, step: int, at: int) -> None:
        """A picture that the UI's charts of images know by this key."""
        client = self.store.client
        there = client.list_artifacts(self.run, "images")
        # The picture and its thumbnail.
        if sum(f"/{key}+step+{step}+" in artifact.path for artifact in there) >= 2:
            client.set_tag(self.run, MLFLOW_LOGGED_IMAGES, True)  # log_image may not have come to it
            return
        client.log_image(self.run, images, key=key, step=step, timestamp=at, synchronous=True)

    def _final_picture(self, at: int) -> None:
        """The last pictures of a training, at the same step whatever the number of epochs, and as a file."""
        last = next((event for event in reversed(self.events) if event["do"] == "image"), None)
        if last is not None and (images := self._images_of(last)) is not None:
            self._picture("final", images, 0, at)
            self.store.client.log_image(self.run, images, artifact_file=FINAL)

    def _artifact(self, event: Event) -> None:
        path = str(self.folder / event["file"])
        self.store.client.log_artifact(self._where(event), path, event["target"])  # a folder, too

    def _dataset(self, event: Event) -> None:
        source = json.dumps({"tags": {"path": event["path"], "source": event["name"]}})
        data = entities.Dataset(event["name"], event["md5"][:8], "code", source)
        used = entities.DatasetInput(data, [entities.InputTag("mlflow.data.context", event["context"])])
        for run in (self.run, self.parent):
            self.store.client.log_inputs(run, [used])
            # mlflow.search_runs shows no inputs; other pictures may have the same name and number.
            self._set_tags(run, {"data": event["name"], "data.md5": event["md5"][:8]})

    def _tags(self, event: Event) -> None:
        self._set_tags(self._where(event), event["tags"])

    def _model(self, event: Event) -> None:
        """Logs and registers a pyfunc model of files and code. One that is half there is completed."""
        client, experiment = self.store.client, self.store.experiment
        model = self._logged_model(self.run) or client.create_logged_model(
            experiment, event["name"], self.run
        )
        if model.status != entities.LoggedModelStatus.READY:
            outputs = client.get_run(self.run).outputs
            if not (outputs and outputs.model_outputs):
                client.log_outputs(self.run, [entities.LoggedModelOutput(model.model_id, step=0)])
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow warns of its own type hints, and wants an example
                from condgen.sampling import serving  # a second that few journals need

                mlflow.pyfunc.save_model(
                    folder,
                    python_model=str(self.folder / event["code"] / "sampling/serving.py"),
                    # As an address, in which MLflow decodes %20; it does not in the other paths.
                    artifacts={"model": (self.folder / event["file"]).as_uri()},
                    code_paths=[str(self.folder / event["code"])],
                    signature=serving.signature(event["shape"]),
                    input_example=serving.example(len(event["classes"])),
                    metadata={"classes": event["classes"]},
                    pip_requirements=event["requirements"],
                    mlflow_model=Model(run_id=self.run, model_id=model.model_id),
                )
                client.log_model_artifacts(model.model_id, folder)
            client.finalize_logged_model(model.model_id, entities.LoggedModelStatus.READY)
        text = event["about"]
        if any(other["do"] == "image" for other in self.events):
            picture = f"get-artifact?path={FINAL}&run_uuid={self.run}"  # after the UI's address
            text += f"\n\n![Pictures after the last epoch, a row for each class]({picture})"
        client.set_logged_model_tags(model.model_id, {"mlflow.note.content": text})
        with self.alone:  # two must not both create the first version's name
            registry.register(client, model, event["about"], event["md5"], text)

    def _results(self, event: Event) -> None:
        """What was measured of models, as metrics of the logged models, found as in `_candidates`."""
        self._wait_for_earlier()
        client = self.store.client
        for model, found in event["models"].items():
            md5 = lineage.model_of_samples(self.store, found["samples"], found["samples_md5"], model)
            version = registry.version_of(client, model, md5)
            logged = version and self._logged_model(version.run_id)
            if not logged:
                continue
            against = {"dataset_name": event["name"], "dataset_digest": event["md5"][:8]}
            metrics = [
                entities.Metric(key, _rounded(value), event["at"], 0, model_id=logged.model_id, **against)
                for key, value in found["values"].items()
            ]
            client.log_batch(self.run, metrics=metrics)
            client.log_inputs(self.run, models=[entities.LoggedModelInput(logged.model_id)])

    def _candidates(self, event: Event) -> None:
        """Measured models. Which versions they are is found by content: samples <- stage sample <- model."""
        self._wait_for_earlier()
        verdicts = {}
        for model, found in event["models"].items():
            md5 = lineage.model_of_samples(self.store, found["samples"], found["samples_md5"], model)
            with self.alone:  # two must not both compare with the same champion, and both replace it
                verdicts[f"registry.{model}"] = registry.promote_if_better(
                    self.store.client, model, md5, event["metric"], event["better"], found
                )
        self._set_tags(self.run, verdicts)

    def _end(self, event: Event) -> None:
        """Ends the child, and the parent, whose status is the worst of its children's."""
        client = self.store.client
        if event.get("error"):
            client.set_tag(self.run, "error", event["error"])
        self._final_picture(event["at"])
        client.set_terminated(self.run, event["status"], event["at"])
        children = self.store.children(self.parent)
        self._note({child.data.tags["stage"] for child in children})
        statuses = {child.info.status for child in children}
        worst = next(s for s in ("RUNNING", "KILLED", "FAILED", "FINISHED") if s in statuses)
        if worst != "RUNNING":
            client.set_terminated(self.parent, worst, max(child.info.end_time or 0 for child in children))

    def _note(self, ran: set[str]) -> None:
        """Describes the parent: its results, and where DVC had a stage's result, the run that made it."""
        client, new = self.store.client, {}
        missing = {stage: path for path, stage in self.start["made_by"].items() if stage not in ran}
        for stage, path in missing.items():
            made = lineage.maker(self.store, path, self.start["read"][path])
            new[f"reused.{stage}"] = made.info.run_name if made else "a run that is not in this store"
            new |= {f"reused.{stage}.run": made.info.run_id} if made else {}
        tags = client.get_run(self.parent).data.tags
        for key in [key for key in tags if key.startswith("reused.") and key.split(".")[1] in ran]:
            client.delete_tag(self.parent, key)  # said before that stage's run came, which was late
            del tags[key]
        tags |= new
        text = [tags.get("note", "")]
        if any(artifact.path == registry.REPORT for artifact in client.list_artifacts(self.parent)):
            text.insert(0, f"[The report]({self.store.link(self.parent)}/artifacts/{registry.REPORT})")
        for key in sorted(key for key in tags if key.startswith("reused.") and key.endswith(".run")):
            name, page = tags[key.removesuffix(".run")], self.store.link(tags[key])
            text.append(f"`{key.split('.')[1]}` did not run again: its result is that of [{name}]({page}).")
        new["mlflow.note.content"] = "\n\n".join(filter(None, text))
        self._set_tags(self.parent, new)


def _rounded(value: float) -> float:
    """For people to read. Whole numbers, which are counts, stay as they are."""
    return value if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def _with_password(uri: str) -> str:
    """The address in the environment, if it is this one but for the secrets, which no journal holds."""
    return given() if without_secrets(given()) == uri else uri


def deliver_all(outbox: Path, say: Callable[[str], None], to: str | None = None) -> tuple[int, int]:
    """Delivers every journal whose stage has ended, the oldest first. Returns (delivered, left over)."""
    delivered, left = 0, 0
    journal.tidy(outbox, say)
    for folder in filter(journal.over, journal.waiting(outbox)):
        try:
            with Delivery(folder, say, to) as delivery:
                done = delivery.advance()
            delivered, left = delivered + done, left + (not done)
        except journal.Taken:
            pass
        except Exception as error:
            left += 1
            say(f"{folder.name} is not delivered: {one_line(error)}")
    return delivered, left
