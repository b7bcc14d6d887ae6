"""A stage's journal becomes a run in MLflow, whatever happens to the stage, to MLflow or to both."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request

import mlflow
import numpy as np
import psutil
import pytest
from filelock import FileLock
from mlflow.environment_variables import MLFLOW_ENABLE_ASYNC_LOGGING
from PIL import Image

from condgen import tracking
from condgen.base import files
from condgen.base.errors import one_line, without_secrets
from condgen.base.pictures import mosaic
from condgen.cli import main
from condgen.models import cgan
from condgen.tracking import address, courier, delivery, journal, lineage, store, views
from specs import DIGITS

GRID = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
LONG = 400  # seconds: only what waits for ever takes longer, on any machine


@pytest.fixture(scope="session")
def empty_db(tmp_path_factory):
    """A store with its tables and no experiment of ours: making the tables takes seconds."""
    folder = tmp_path_factory.mktemp("db")
    mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def place(root, tmp_path, monkeypatch, empty_db):
    """A repository root of its own, with a store: the working directory has params.yaml and dvc.yaml."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("TRACKING_URI", "EXPERIMENT_NAME"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    for name, value in address.SETTINGS.items():
        monkeypatch.setenv(name, value)
    for name in ("DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(root / name, tmp_path)
    shutil.copy(empty_db, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def later(monkeypatch):
    """No courier: what stages say stays in the outbox until it is delivered by hand."""
    monkeypatch.setattr(courier, "start", lambda folder: None)


def deliver(place, to=None):
    said = []
    _, left = delivery.deliver_all(place / "outbox", said.append, to)
    assert (left, said) == (0, [])
    return runs(place if to is None else to)


def runs(place):
    """(client, stage or "parent" -> run)."""
    client = mlflow.MlflowClient(place if isinstance(place, str) else f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name("condgen")
    found = client.search_runs([experiment.experiment_id])
    return client, {
        run.data.tags["stage"] if "mlflow.parentRunId" in run.data.tags else "parent": run for run in found
    }


def journals(place):
    return list(journal.waiting(place / "outbox"))


def write(place, name, text):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def full_stage(place, name="train_cgan"):
    """A stage that says one of everything but a model."""
    write(place, "data/dataset.npz", "pixels")
    with tracking.stage(name) as run:
        write(place, "data/models/cgan/config.json", "hello")
        run.dataset("data/dataset.npz", "five digits", "training")
        for epoch in range(1, 4):
            run.epoch(epoch, {"loss": 1 / epoch}, GRID if epoch == 2 else None)
        run.numbers({"cgan": {"accuracy": 0.5, "by_digit": [0.1, 0.2], "note": "text"}})
        run.numbers({"recall": 0.25}, parent=True)
        run.artifacts("data/models/cgan")
        run.artifacts("data/models/cgan/config.json", parent=True)
        run.describe("What it came to")


# What a run holds


def test_a_stage_is_a_child_of_its_execution_and_holds_what_it_said(place, later):
    full_stage(place)
    client, found = deliver(place)
    child, parent = found["train_cgan"], found["parent"]
    assert child.info.status == parent.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["stage"] == "train_cgan"
    # MD5 of "hello", as md5sum and dvc.lock give it.
    assert (
        child.data.tags["mlflow.condgen.wrote/data/models/cgan/config.json"]
        == "5d41402abc4b2a76b9719d911017c592"
    )
    assert child.data.tags["mlflow.note.content"] == "The conditional generative adversarial network"
    assert child.data.params["cgan.lr"] == "0.001"
    assert "cvae.lr" not in child.data.params
    assert {"cgan.lr", "cvae.lr", "seed", "data.source"} <= set(parent.data.params)
    history = client.get_metric_history(child.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 0.5), (3, 0.333333)]
    assert [m.value for m in client.get_metric_history(child.info.run_id, "cgan.by_digit")] == [0.1, 0.2]
    assert parent.data.metrics == {"recall": 0.25}
    assert not [tag for tag in parent.data.tags if tag.startswith("mlflow.condgen.")]
    assert child.data.tags["mlflow.condgen.read/data/dataset.npz"] == hashlib.md5(b"pixels").hexdigest()
    assert parent.data.tags["mlflow.note.content"] == "What it came to"
    assert [used.dataset.name for used in child.inputs.dataset_inputs] == ["five digits"]
    assert {a.path for a in client.list_artifacts(child.info.run_id, "models/cgan")} == {
        "models/cgan/config.json"
    }
    assert [a.path for a in client.list_artifacts(parent.info.run_id, "models/cgan")] == [
        "models/cgan/config.json"
    ]
    assert not journals(place)


def test_of_a_finished_pipeline_run_there_are_parameters_metrics_code_and_data(place, later):
    with tracking.stage("evaluate"):
        pass
    full_stage(place)
    deliver(place)
    (run,) = store.finished(store.existing()).to_dict("records")
    assert run["metrics.recall"] == 0.25
    assert run["params.cgan.lr"] == "0.001"
    assert run["tags.data"] == "five digits"
    assert re.fullmatch("[0-9a-f]{8}", run["tags.code"])


def test_finished_runs_are_read_page_by_page_and_none_is_lost(tmp_path, monkeypatch):
    """A server takes longer for 10,000 at once than it may."""
    monkeypatch.setattr(store, "PAGE", 2)
    opened = store.connect(f"sqlite:///{tmp_path}/mlflow.db", "condgen")
    assert store.finished(opened).empty
    for i in range(5):
        run = opened.client.create_run(
            opened.experiment, 1 + i, {"stage": "pipeline"}, f"run {i}"
        ).info.run_id
        opened.client.log_metric(run, "cgan.recall", i)
        opened.client.set_terminated(run, "FINISHED" if i != 3 else "FAILED")
    runs = store.finished(opened)
    assert list(runs["tags.mlflow.runName"]) == ["run 0", "run 1", "run 2", "run 4"], "the oldest first"
    assert list(runs["metrics.cgan.recall"]) == [0, 1, 2, 4]
    newest_first = [run.info.run_name for run in opened.runs("tags.stage = 'pipeline'")]
    assert newest_first == [f"run {i}" for i in (4, 3, 2, 1, 0)]


def steps(client, run):
    names = [a.path for a in client.list_artifacts(run.info.run_id, "images") if a.path.endswith(".png")]
    return sorted({int(re.search(r"\Wstep\W(\d+)", name)[1]) for name in names})


def test_pictures_are_kept_of_the_first_ten_epochs_every_fifth_and_the_last(place, later):
    with tracking.stage("train_cvae") as run:
        for epoch in range(18):
            run.epoch(epoch, {}, GRID)
    client, found = deliver(place)
    assert steps(client, found["train_cvae"]) == [*range(11), 15, 17]


def test_numbers_are_rounded_for_reading_and_counts_and_the_journal_are_not(place, later):
    given = {"share": 0.9168999791145325, "small": 1.23456789e-7, "large": 987654.321, "count": 12_345_678}
    with tracking.stage("sample") as run:
        run.numbers(given)
    (event,) = [event for event in journal.events(journals(place)[0]) if event["do"] == "metrics"]
    assert {name: value for name, value, _ in event["values"]} == given
    _, found = deliver(place)
    rounded = {"share": 0.9169, "small": 1.23457e-7, "large": 987654.0, "count": 12_345_678}
    assert found["sample"].data.metrics == rounded


def test_more_tags_and_looks_at_the_machine_than_mlflow_takes_at_once_are_all_delivered(place, later):
    with tracking.stage("train_cvae") as run:
        for i in range(250):
            write(place, f"data/models/cvae/{i}.txt", str(i))
    with delivery.Delivery(run.journal.folder, pytest.fail) as own:
        own.usage += [("system/machine_cpu_percent", 50.0, 1, step) for step in range(2500)]
        assert own.advance()
    client, found = runs(place)
    tags = found["train_cvae"].data.tags
    assert sum(tag.startswith("mlflow.condgen.wrote/") for tag in tags) == 250
    looks = client.get_metric_history(found["train_cvae"].info.run_id, "system/machine_cpu_percent")
    assert len(looks) == 2500


def test_a_training_of_any_length_has_its_last_pictures_at_the_same_step_and_as_a_file(place, later):
    for name, last in (("train_cvae", 3), ("train_cgan", 18)):
        with contextlib.suppress(KeyboardInterrupt), tracking.stage(name) as run:
            for epoch in range(last + 1):
                run.epoch(epoch, {}, GRID + np.uint8(epoch))
            if name == "train_cgan":
                raise KeyboardInterrupt  # its pictures of epoch 15 are the last that were kept
    client, found = deliver(place)
    for name, last in (("train_cvae", 3), ("train_cgan", 15)):
        run_id = found[name].info.run_id
        (shown,) = (
            a.path
            for a in client.list_artifacts(run_id, "images")
            if re.search(r"final.step.0.*\.png", a.path)
        )
        for path in (shown, "final.png"):
            with Image.open(client.download_artifacts(run_id, path)) as picture:
                assert np.array_equal(np.asarray(picture), mosaic(GRID + np.uint8(last), 10)), (name, path)


def test_tags_of_hashes_are_not_shown_and_those_of_older_runs_still_name_their_run(place, later):
    path, md5 = "data/models/cgan/config.json", hashlib.md5(b"hello").hexdigest()
    for old in (True, False):
        full_stage(place)
        if old:  # as earlier code wrote its journals
            events = journals(place)[0] / "events.jsonl"
            events.write_text(events.read_text().replace("mlflow.condgen.", ""))
        deliver(place)
        latest = store.existing().latest("tags.stage = 'train_cgan'")
        start = "" if old else "mlflow.condgen."  # the UI hides what begins with mlflow.
        assert {tag for tag in latest.data.tags if "data/" in tag} == {
            f"{start}read/data/dataset.npz",
            f"{start}wrote/{path}",
        }
        assert lineage.maker(store.existing(), path, md5).info.run_id == latest.info.run_id


def measured_models(place, numbers):
    """Two trained models, their samples and what was measured of them, as the stages say it."""
    for name in numbers:
        write(place, f"data/models/{name}/config.json", "{}")
        write(place, f"data/models/{name}/model.safetensors", f"weights of {name}")
        with tracking.stage(f"train_{name}") as run:
            run.epoch(1, {}, GRID)
            run.model(name, f"data/models/{name}", f"The {name}", DIGITS.classes, DIGITS.shape)
    with tracking.stage("sample"):
        for name in numbers:
            write(place, f"data/samples/{name}.npz", f"samples of {name}")
    write(place, "data/dataset.npz", "pixels")
    with tracking.stage("evaluate") as run:
        drawn = {name: f"data/samples/{name}.npz" for name in numbers}
        run.dataset("data/dataset.npz", "five digits", "evaluation")
        run.results(numbers, drawn, "data/dataset.npz", "five digits")


def test_logged_models_are_sorted_by_what_was_measured_and_shown_with_it(place, later):
    numbers = {"cvae": {"frechet_distance": 63.5, "recall": 0.25}, "cgan": {"frechet_distance": 7.125}}
    measured_models(place, numbers)
    client, found = deliver(place)
    experiment = found["parent"].info.experiment_id

    def by_distance(ascending):
        order = [{"field_name": "metrics.frechet_distance", "ascending": ascending}]
        return client.search_logged_models([experiment], order_by=order)

    assert [model.name for model in by_distance(True)] == ["cgan", "cvae"]
    assert [model.name for model in by_distance(False)] == ["cvae", "cgan"]
    for model in by_distance(True):
        shown = {metric.key: metric.value for metric in model.metrics}
        assert shown == numbers[model.name]
        digest = hashlib.md5(b"pixels").hexdigest()[:8]
        assert {(m.dataset_name, m.dataset_digest) for m in model.metrics} == {("five digits", digest)}
        note = model.tags["mlflow.note.content"]
        assert note.startswith(f"The {model.name}\n")
        trained = found[f"train_{model.name}"].info.run_id
        assert f"(get-artifact?path=final.png&run_uuid={trained})" in note
        assert "final.png" in artifacts(client, trained)
        (version,) = client.search_model_versions(f"name = 'condgen-{model.name}'")
        assert version.description == note
        linked = json.loads(model.tags["mlflow.modelVersions"])
        assert linked == [{"name": version.name, "version": version.version}]
    evaluated = client.get_run(found["evaluate"].info.run_id)
    used = {model.model_id for model in evaluated.inputs.model_inputs}
    assert used == {model.model_id for model in by_distance(True)}


def test_models_that_mlflow_does_not_have_leave_the_rest_of_an_evaluation(place, later):
    measured_models(place, {"cgan": {"frechet_distance": 7.125}})
    shutil.rmtree(journals(place)[0])  # the training's
    _, found = deliver(place)
    assert found["evaluate"].info.status == "FINISHED"


def test_what_a_training_takes_of_the_machine_is_seen_from_outside_and_delivered(place, later, monkeypatch):
    monkeypatch.setattr(courier, "POLL_SECONDS", 0.01)
    for name in ("train_cvae", "sample"):
        with tracking.stage(name) as run:
            folder, ended = run.journal.folder, threading.Event()
            usage = courier.usage_of(folder, os.getpid())
            assert (usage is not None) == (name == "train_cvae"), "trainings alone"
            with monkeypatch.context() as patch:
                patch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
                assert courier.usage_of(folder, os.getpid()) is None
            beside = threading.Thread(
                target=courier.Courier(folder, usage).run, args=[ended.wait], daemon=True
            )
            beside.start()
            until(lambda usage=usage: usage is None or usage.looks > 20)
        ended.set()
        beside.join()
    client, found = runs(place)
    seen = found["train_cvae"].data.metrics
    assert {"system/stage_cpu_percent_of_a_core", "system/machine_cpu_percent"} < set(seen)
    memory = psutil.Process().memory_info().rss / 1e6
    assert 0.2 * memory < seen["system/stage_memory_megabytes"] < 5 * memory
    history = client.get_metric_history(found["train_cvae"].info.run_id, "system/machine_cpu_percent")
    assert len(history) > 20
    assert len({point.step for point in history}) == len(history)
    assert not found["sample"].data.metrics


def test_a_store_with_older_views_gets_the_new_ones_once_and_keeps_those_of_its_people(place, later):
    def run_and_read():
        with tracking.stage("sample"):
            pass
        client, _ = deliver(place)
        experiment = client.get_experiment_by_name("condgen")
        return experiment.tags, functools.partial(client.set_experiment_tag, experiment.experiment_id)

    first, change = run_and_read()
    for key, value in {views.VERSION: "1", views.RESULTS: "old", f"{views.TAG}mine": "my own"}.items():
        change(key, value)
    renewed, change = run_and_read()
    assert json.loads(renewed[views.RESULTS])["state"] == json.loads(first[views.RESULTS])["state"]
    assert renewed[f"{views.TAG}mine"] == "my own"
    change(views.RESULTS, "changed in the UI")
    assert run_and_read()[0][views.RESULTS] == "changed in the UI"


def test_stages_of_one_execution_share_a_parent_and_artifacts_outlive_the_working_copy(
    place, later, monkeypatch
):
    copy = place / "copy"
    copy.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(place / name, copy)
    monkeypatch.chdir(copy)  # as below .dvc/tmp/exps
    monkeypatch.setenv("DVC_EXP_NAME", "bold-bat")
    for name in ("train_cvae", "sample"):
        write(copy, "data/a.txt", name)
        with tracking.stage(name) as run:
            run.artifacts("data/a.txt")
    shutil.rmtree(copy)
    monkeypatch.chdir(place)
    _, found = deliver(place)
    assert set(found) == {"train_cvae", "sample", "parent"}
    assert found["parent"].info.run_name == "bold-bat"
    assert found["parent"].data.tags["dvc.experiment"] == "bold-bat"
    artifact = found["sample"].info.artifact_uri
    assert artifact.startswith((place / "mlartifacts").as_uri())
    assert mlflow.artifacts.load_text(f"{artifact}/a.txt") == "sample"


def test_a_run_says_which_parameters_are_not_as_committed(place, later):
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e.org", *words], check=True)
    with tracking.stage("sample"):
        pass
    text = (place / "params.yaml").read_text()
    write(place, "params.yaml", text.replace("leak: 0.1 ", "leak: 0.2 ").replace("seed: 0 ", "seed: 7 ", 1))
    with tracking.stage("evaluate"):
        pass
    _, found = deliver(place)
    assert found["sample"].data.tags["changed"] == "nothing"
    assert found["evaluate"].data.tags["changed"] == "seed=7, cgan.leak=0.2"


# How a stage ends


def test_an_error_marks_the_stage_and_the_pipeline_failed(place, later):
    with pytest.raises(RuntimeError, match="boom"), tracking.stage("sample"):
        raise RuntimeError("boom")
    _, found = deliver(place)
    assert {run.info.status for run in found.values()} == {"FAILED"}
    assert found["sample"].data.tags["error"] == "boom"


def test_a_pipeline_is_as_well_as_its_stages(place, later):
    with pytest.raises(RuntimeError), tracking.stage("train_cvae"):
        raise RuntimeError("boom")
    with tracking.stage("train_cgan"):  # dvc repro --keep-going
        pass
    _, found = deliver(place)
    assert found["train_cgan"].info.status == "FINISHED"
    assert found["parent"].info.status == "FAILED"


class Stage(subprocess.Popen):
    """A stage of its own process with its courier, that says `started` and sleeps."""

    SCRIPT = """
        import signal, sys, time
        # A suite that was started in the background hands down SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, sys.argv[1])
        from condgen import tracking
        with tracking.stage(sys.argv[2]) as run:
            run.numbers({"a": 1.0})
            print("started", flush=True)
            time.sleep(float(sys.argv[3]))
        assert "mlflow" not in sys.modules
    """

    def __init__(self, root, name="train_cvae", seconds=60):
        words = [sys.executable, "-c", textwrap.dedent(self.SCRIPT), str(root / "src"), name, str(seconds)]
        super().__init__(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.stdout.readline() == "started\n", self.stderr.read()

    def courier(self):
        return courier_of(self.pid)


def courier_of(pid):
    def couriers():
        return [p for p in psutil.Process(pid).children() if "condgen.tracking" in p.cmdline()]

    until(couriers)  # on a busy machine a new process may not show its command yet
    return couriers()[0]


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_stage_is_killed_in_mlflow_too(place, root, number):
    with Stage(root) as stage:
        beside = stage.courier()
        os.killpg(stage.pid, number)  # as Ctrl-C does: all of the stage's group
        assert stage.wait(LONG) != 0
    until(lambda: not beside.is_running())
    _, found = runs(place)
    assert {run.info.status for run in found.values()} == {"KILLED"}
    assert found["train_cvae"].data.metrics == {"a": 1.0}
    assert not journals(place)


def test_a_courier_sees_the_end_of_its_stage_at_once(place, later, root):
    script = "from condgen.tracking import __main__, courier; courier.POLL_SECONDS = 1e6; __main__.main()"
    with tracking.stage("sample") as run:
        folder = run.journal.folder
        words = [sys.executable, "-c", script, folder]
        env = os.environ | {"PYTHONPATH": str(root / "src")}
        run.tags({"b": 1})
        beside = subprocess.Popen(words, stdin=subprocess.PIPE, env=env)
        until((folder / "delivered.json").exists)
        run.numbers({"a": 1.0})
    beside.stdin.close()  # as the operating system does when a stage ends
    assert beside.wait(LONG) == 0
    _, found = runs(place)
    assert found["sample"].data.metrics == {"a": 1.0}
    assert found["sample"].info.status == "FINISHED"


@pytest.mark.slow
def test_runs_that_a_crashed_machine_left_running_are_closed_by_the_next_start(place, root):
    with Stage(root) as stage:
        until(lambda: '"count": 2' in (journals(place)[0] / "delivered.json").read_text()
              if (journals(place)[0] / "delivered.json").exists() else False)  # fmt: skip
        stage.courier().kill()
        stage.kill()
    _, found = runs(place)
    assert {run.info.status for run in found.values()} == {"RUNNING"}
    with Stage(root, "sample", seconds=0) as stage:
        assert stage.wait(LONG) == 0, stage.stderr.read()
    until(lambda: not journals(place))  # on a busy machine the stage ends before its courier
    _, found = runs(place)
    assert found["train_cvae"].info.status == "KILLED"
    assert found["train_cvae"].data.tags["error"] == "the process was killed"
    assert found["sample"].info.status == "FINISHED"


@pytest.mark.slow
def test_a_courier_that_was_killed_is_replaced_once(place, root):
    with Stage(root, seconds=6) as stage:
        beside = stage.courier()
        beside.kill()
        assert stage.wait(LONG) == 0
    until(lambda: not journals(place))
    _, found = runs(place)
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_a_stage_that_has_ended_gives_its_courier_time_for_what_others_left(place, later, monkeypatch):
    monkeypatch.setattr(courier, "BACKLOG_SECONDS", 100)
    for _ in range(3):
        with tracking.stage("sample"):
            pass
    with tracking.stage("evaluate") as run:
        own, ended = run.journal.folder, threading.Event()
        for other in journals(place)[:3]:  # of other executions
            text = (other / "events.jsonl").read_text()
            (other / "events.jsonl").write_text(text.replace('"execution": "', f'"execution": "{other.name}'))
    ended.set()
    courier.Courier(own).run(ended.wait)
    assert not journals(place)


def test_a_courier_delivers_what_earlier_stages_left_whatever_is_wrong_with_one_of_them(
    place, later, monkeypatch, closed_port, capsys
):
    for uri in (f"http://127.0.0.1:{closed_port}", "", ""):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with tracking.stage("sample") as run:
            run.numbers({"a": 1.0})
    monkeypatch.setattr(courier, "POLL_SECONDS", 0.01)
    with tracking.stage("evaluate") as run:
        own, ended = run.journal.folder, threading.Event()
        beside = threading.Thread(target=courier.Courier(own).run, args=[ended.wait], daemon=True)
        beside.start()
        until(lambda: len(journals(place)) == 2)
    ended.set()
    beside.join()
    (left,) = journals(place)
    assert journal.events(left)[0]["uri"] == f"http://127.0.0.1:{closed_port}"
    assert capsys.readouterr().err == ""


def test_a_courier_goes_on_when_mlflow_can_be_used_again(place, later, monkeypatch, capsys):
    monkeypatch.setattr(courier, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(courier, "POLL_SECONDS", 0.01)
    with tracking.stage("sample"):
        pass
    real, ended = delivery.connect, threading.Event()
    monkeypatch.setattr(delivery, "connect", lambda *_: (_ for _ in ()).throw(Lost("no server")))
    with tracking.stage("evaluate") as run:
        beside = threading.Thread(
            target=courier.Courier(run.journal.folder).run, args=[ended.wait], daemon=True
        )
        beside.start()
        said = []
        until(lambda: said.append(capsys.readouterr().err) or "no server" in "".join(said))
        monkeypatch.setattr(delivery, "connect", real)
        until(lambda: len(journals(place)) == 1)
    ended.set()
    beside.join()
    said = "".join([*said, capsys.readouterr().err]).splitlines()
    assert said == ["tracking: MLflow cannot be used: no server", "tracking: MLflow can be used again"]
    assert not journals(place)


def test_what_killed_processes_left_in_the_outbox_is_swept_and_nothing_else(place):
    outbox = place / tracking.OUTBOX
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = f".2026.condgen-{dead.pid}@{platform.node()}"
    for name in (f"{left}.new", f"{left}.gone", "2026-waiting"):
        (outbox / name).mkdir(parents=True)
    beginning = f"{files.unfinished('2026')}new"
    (outbox / beginning).mkdir()
    files.sweep(outbox)
    assert sorted(os.listdir(outbox)) == [beginning, "2026-waiting"]


@pytest.mark.slow
def test_two_stages_that_start_at_once_on_a_fresh_store_are_both_kept(place, root):
    (place / "mlflow.db").unlink()
    both = [Stage(root, name, seconds=0) for name in ("train_cvae", "train_cgan")]
    for stage in both:
        with stage:
            assert stage.wait(LONG) == 0, stage.stderr.read()
    until(lambda: not journals(place))
    client, _ = runs(place)
    experiment = client.get_experiment_by_name("condgen").experiment_id
    found = client.search_runs([experiment])
    assert len(found) == 4, "two executions, each with a parent and a child"
    assert {run.info.status for run in found} == {"FINISHED"}


# MLflow that fails


@pytest.fixture
def closed_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.fixture
def silent_port():
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.mark.parametrize("port", ["closed_port", "silent_port"])
@pytest.mark.slow
def test_a_server_that_does_not_answer_does_not_stop_a_stage_and_the_run_is_kept(
    place, root, monkeypatch, request, port
):
    number = request.getfixturevalue(port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{number}")
    with Stage(root, seconds=1) as stage:
        said = stage.stderr.read()
        assert stage.wait(LONG) == 0
    assert "MLflow does not have all of this run" in said
    assert "'python -m condgen deliver'" in said
    assert "secret" not in said
    assert "secret" not in (journals(place)[0] / "events.jsonl").read_text()
    _, found = deliver(place, f"sqlite:///{place}/mlflow.db")
    assert found["train_cvae"].data.metrics == {"a": 1.0}
    assert found["train_cvae"].info.status == "FINISHED"


def test_an_outbox_that_cannot_be_written_stops_nothing(place, capsys):
    (place / "outbox").write_text("in the way")
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
        run.describe("text")
    said = capsys.readouterr().err
    assert "outbox cannot be written" in said
    assert len(said.splitlines()) == 1


def test_a_mistake_in_what_is_said_of_a_run_stops_nothing(place, later, capsys):
    with tracking.stage("sample") as run:
        run.artifacts("data/that/is/not/there.png")
        run.numbers({"a": 2.0})
    assert "artifact cannot be written" in capsys.readouterr().err
    _, found = deliver(place)
    assert found["sample"].data.metrics == {"a": 2.0}
    assert found["sample"].info.status == "FINISHED"


class Lost(Exception):
    """A call that did, or did not, reach MLflow, and whose answer never came."""


def content(client, found):
    """All that a person can see of runs, without what differs between any two: ids and times."""
    everything = {}
    for name, run in found.items():
        run_id = run.info.run_id
        ids = ("mlflow.parentRunId", "journal", "execution", "mlflow.log-model.history")
        everything[name] = {
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {
                key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)]
                for key in run.data.metrics
            },
            "tags": {key: value for key, value in run.data.tags.items() if key not in ids},
            "pictures": steps(client, run),
            "artifacts": sorted(artifacts(client, run_id)),
            "data": [used.dataset.name for used in run.inputs.dataset_inputs],
        }
    return everything


def artifacts(client, run_id, path=None):
    for item in client.list_artifacts(run_id, path):
        if item.is_dir:
            yield from artifacts(client, run_id, item.path)
        elif not item.path.startswith("images/"):
            yield item.path


CALLS = ["create_run", "log_batch", "log_image", "log_artifacts", "log_artifact", "log_inputs"]
CALLS += ["set_terminated", "set_tag", "update_run"]


def losing(monkeypatch, number, when):
    """MLflow, whose call of this number is lost before or after it worked."""
    count = iter(range(1000))

    def replace(name):
        real = getattr(mlflow.MlflowClient, name)

        def flaky(self, *args, **options):
            lost = next(count) == number
            if lost and when == "before":
                raise Lost
            result = real(self, *args, **options)
            if lost:
                raise Lost
            return result

        monkeypatch.setattr(mlflow.MlflowClient, name, flaky)

    for name in CALLS:
        replace(name)


def test_whichever_call_is_lost_before_or_after_it_worked_the_run_is_delivered_whole(
    place, later, monkeypatch, empty_db
):
    full_stage(place)
    shutil.copytree(place / "outbox", place / "kept")
    expected = content(*deliver(place))
    for number in range(60):
        shutil.rmtree(place / "outbox")
        shutil.copytree(place / "kept", place / "outbox")
        folder = place / str(number)
        folder.mkdir()
        shutil.copy(empty_db, folder / "mlflow.db")
        left = 0
        for when in ("before", "after"):  # both in one go: the second one at the same call of the second try
            with monkeypatch.context() as patch:
                losing(patch, number, when)
                _, lost = delivery.deliver_all(place / "outbox", str, f"sqlite:///{folder}/mlflow.db")
                left += lost
        if not left:
            break  # there are fewer calls than this
        assert content(*deliver(place, f"sqlite:///{folder}/mlflow.db")) == expected, number
    assert number >= 15


def tiny_model(place):
    write(place, "data/models/cgan/config.json", '{"model": "cgan"}')
    write(place, "data/models/cgan/model.safetensors", "weights")


@pytest.mark.parametrize("name", ["log_outputs", "log_model_artifacts", "finalize_logged_model"])
def test_a_model_that_was_lost_twice_on_its_way_is_delivered_and_registered_once(
    place, later, monkeypatch, name
):
    tiny_model(place)
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
    for number in range(2):
        with monkeypatch.context() as patch:
            real = getattr(mlflow.MlflowClient, name)

            def lost(self, *args, _real=real, **options):
                _real(self, *args, **options)
                raise Lost

            patch.setattr(mlflow.MlflowClient, name, lost)
            delivered, _ = delivery.deliver_all(place / "outbox", str)
            assert not (delivered and number == 0)
        if delivered:
            break  # what was lost was the answer, and it was not asked again
    else:
        deliver(place)
    client, found = runs(place)
    versions = client.search_model_versions("name = 'condgen-cgan'")
    assert [version.run_id for version in versions] == [found["train_cgan"].info.run_id]
    models = client.search_logged_models([found["parent"].info.experiment_id])
    assert "READY" in {model.status.value for model in models}


def test_a_journal_whose_end_was_delivered_but_which_could_not_be_removed_is_removed_later(
    place, later, monkeypatch
):
    with tracking.stage("sample"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(journal, "remove", lambda folder: (_ for _ in ()).throw(OSError("busy")))
        assert delivery.deliver_all(place / "outbox", str) == (0, 1)
    assert delivery.deliver_all(place / "outbox", pytest.fail) == (1, 0)
    assert not journals(place)


def test_a_damaged_line_is_passed_over_and_stops_no_other_journal(place, later):
    with tracking.stage("sample") as run:
        with open(journals(place)[0] / "events.jsonl", "a") as file:
            file.write('{"at": 1, "do": "metr')  # the disk was full
        run.numbers({"a": 1.0})
    with tracking.stage("evaluate"):
        pass
    _, found = deliver(place)
    assert found["sample"].data.metrics == {"a": 1.0}
    assert found["evaluate"].info.status == "FINISHED"


def test_a_finished_stage_is_finished_though_there_was_no_room_to_say_so(place, later, monkeypatch, capsys):
    with tracking.stage("sample") as run:
        real = run.journal.write

        def full(do, **content):
            if do == "end":
                raise OSError("no space")
            real(do, **content)

        monkeypatch.setattr(run.journal, "write", full)
    assert "no space" in capsys.readouterr().err
    _, found = deliver(place)
    assert found["sample"].info.status == "FINISHED"


def test_a_courier_that_cannot_be_started_loses_nothing(place, monkeypatch, capsys):
    monkeypatch.setattr(courier, "start", lambda folder: (_ for _ in ()).throw(OSError("no memory")))
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
    assert "no process can be started (no memory)" in capsys.readouterr().err
    _, found = deliver(place)
    assert found["sample"].info.status == "FINISHED"
    assert found["sample"].data.metrics == {"a": 1.0}


def test_journals_for_two_stores_are_delivered_each_to_its_own(place, later, monkeypatch, empty_db):
    (place / "other").mkdir()
    shutil.copy(empty_db, place / "other/mlflow.db")
    tiny_model(place)
    for uri in ("sqlite:///mlflow.db", "sqlite:///other/mlflow.db", "sqlite:///mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with tracking.stage("train_cgan") as run:
            run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
    assert delivery.deliver_all(place / "outbox", pytest.fail) == (3, 0)
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///mlflow.db", "the user's own address stays"
    for folder, count in ((place, 2), (place / "other", 1)):
        client, _ = runs(folder)
        assert len(client.search_model_versions("name = 'condgen-cgan'")) == count


def test_what_mlflow_refuses_is_said_and_the_rest_is_delivered(place, later):
    with tracking.stage("sample") as run:
        run.numbers({"good": 1.0})
        run.numbers({"a bad name: *?": 1.0})
        run.numbers({"good too": 2.0})
        run.tags({"fine": "yes"})
    said = []
    assert delivery.deliver_all(place / "outbox", said.append) == (1, 0)
    assert len(said) == 1
    assert "MLflow refused metrics" in said[0]
    _, found = runs(place)
    assert found["sample"].data.tags["fine"] == "yes"
    assert found["sample"].data.metrics == {"good": 1.0, "good too": 2.0}
    assert found["sample"].info.status == "FINISHED"


def test_a_store_that_has_lost_the_run_gets_all_of_it_again(place, later):
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
        folder = journals(place)[0]
        with delivery.Delivery(folder, pytest.fail) as first:
            assert not first.advance()
        state = json.loads((folder / "delivered.json").read_text())
        (folder / "delivered.json").write_text(json.dumps(state | {"run": "0" * 32}))
        run.numbers({"b": 2.0})
    _, found = deliver(place)
    assert found["sample"].data.metrics == {"a": 1.0, "b": 2.0}


def test_the_command_delivers_and_says_what_it_could_not(place, later, capsys, monkeypatch, closed_port):
    with tracking.stage("sample"):
        pass
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    with tracking.stage("sample"):
        pass
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(SystemExit) as status:
        main(["deliver"])
    assert status.value.code == 1
    said = capsys.readouterr()
    assert said.out == f"delivered: 1, left in {place}/outbox: 1\n"
    assert "is not delivered: " in said.err
    assert len(said.err.splitlines()) == 1
    main(["deliver", "--to", f"sqlite:///{place}/mlflow.db"])
    assert capsys.readouterr().out == f"delivered: 1, left in {place}/outbox: 0\n"


def test_a_journal_is_delivered_by_one_process_at_a_time(place, later):
    with tracking.stage("sample"):
        pass
    with delivery.Delivery(journals(place)[0], pytest.fail):
        assert delivery.deliver_all(place / "outbox", pytest.fail) == (0, 0)
    deliver(place)


def test_a_journal_for_which_the_store_was_never_free_is_left_over_and_not_forgotten(
    place, later, monkeypatch
):
    with tracking.stage("sample"):
        pass
    monkeypatch.setattr(delivery, "ALONE_SECONDS", 0)
    said = []
    with FileLock(place / "outbox/store.lock"):
        assert delivery.deliver_all(place / "outbox", said.append) == (0, 1)
    assert len(said) == 1
    assert "is not delivered" in said[0]
    deliver(place)


def test_a_stage_whose_run_comes_late_is_not_called_reused(place, later):
    with tracking.stage("sample"):
        write(place, "data/samples/cvae.npz", "samples")
    with tracking.stage("evaluate"):
        pass
    _, evaluate = journals(place)
    with delivery.Delivery(evaluate, pytest.fail) as first:
        assert first.advance()
    assert "reused.sample" in runs(place)[1]["parent"].data.tags, "nothing is known of its run yet"
    tags = deliver(place)[1]["parent"].data.tags
    assert not [key for key in tags if key.startswith("reused.sample")]
    assert "`sample` did not run again" not in tags["mlflow.note.content"]


def test_pictures_that_a_power_cut_emptied_leave_the_rest_of_a_run(place, later):
    with tracking.stage("train_cgan") as run:
        run.epoch(1, {"loss": 1.0}, GRID)
        run.epoch(2, {"loss": 0.5}, GRID)
    for path in journals(place)[0].rglob("images.npy"):
        path.write_bytes(b"")
    said = []
    assert delivery.deliver_all(place / "outbox", said.append) == (1, 0)
    assert all("are lost" in line for line in said)
    assert runs(place)[1]["train_cgan"].data.metrics == {"loss": 0.5}


def test_mlflows_own_queue_is_off_because_it_is_in_memory(place, later, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    assert MLFLOW_ENABLE_ASYNC_LOGGING.get()
    address.configure()
    assert not MLFLOW_ENABLE_ASYNC_LOGGING.get()


def test_a_line_that_was_never_finished_is_not_an_event(place, later):
    with tracking.stage("sample"):
        pass
    folder = journals(place)[0]
    whole = len(journal.events(folder))
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"at": 1, "do": "metr')
    assert len(journal.events(folder)) == whole


def test_an_experiment_that_was_deleted_in_the_ui_is_taken_up_again(place, later):
    with tracking.stage("sample"):
        pass
    client, _ = deliver(place)
    client.delete_experiment(client.get_experiment_by_name("condgen").experiment_id)
    with tracking.stage("evaluate"):
        pass
    assert "evaluate" in deliver(place)[1]


# Broken stores, journals and places


def in_repository(monkeypatch, folder):
    """Goes to a repository root that has params.yaml and dvc.yaml, as a stage there would."""
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # mlflow.set_tracking_uri sets it
    monkeypatch.chdir(folder)


@pytest.mark.attack
def test_a_data_base_whose_making_was_killed_is_made_by_the_next_start(place):
    script = """
        import os, signal, sys
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from condgen.tracking import store

        @event.listens_for(Engine, "after_cursor_execute")
        def kill(connection, cursor, statement, *_):
            if "_alembic_tmp_latest_metrics" in statement:  # in the middle of MLflow's own steps
                os.kill(os.getpid(), signal.SIGKILL)

        store.connect(sys.argv[1], "condgen")
    """
    (place / "mlflow.db").unlink()
    uri = f"sqlite:///{place}/mlflow.db"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), uri], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert store.connect(uri, "condgen").runs("") == []
    assert not list(place.glob(".*")), "what the killed process left is swept"


@pytest.mark.attack
def test_an_outbox_that_is_deleted_while_a_stage_runs_costs_a_line_and_the_run_is_closed(
    place, later, capsys
):
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
        with delivery.Delivery(run.journal.folder, pytest.fail) as own:
            assert not own.advance()
            shutil.rmtree(place / "outbox")
            run.numbers({"b": 1.0})
            run.numbers({"c": 1.0})
            assert own.advance(), "its courier ends"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"tracking: {run.journal.folder} was deleted: this stage goes on untracked"
    with tracking.stage("evaluate"):
        pass
    _, found = deliver(place)
    assert found["sample"].info.status == "KILLED"
    assert "was deleted while the stage ran" in found["sample"].data.tags["error"]
    assert found["evaluate"].info.status == "FINISHED"


@pytest.mark.attack
@pytest.mark.parametrize("left", ["", "the rest", None])
def test_a_journal_without_its_start_is_set_aside_and_stops_no_other(place, later, left, capsys):
    for name in ("sample", "evaluate"):
        with tracking.stage(name) as run:
            run.numbers({"a": 1.0})
    path = journals(place)[0] / "events.jsonl"
    if left is None:
        path.unlink()
    else:
        path.write_text(left and path.read_text().partition("\n")[2])
    with tracking.stage("train_cvae") as run:
        pass
    ended = threading.Event()
    ended.set()
    courier.Courier(run.journal.folder).run(ended.wait)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path.parent.name}.without-start cannot be delivered: its start is missing" in line
    _, found = deliver(place)  # says nothing more
    assert {name for name, of in found.items() if of.info.status == "FINISHED"} == {
        "evaluate", "train_cvae", "parent",
    }  # fmt: skip


@pytest.mark.attack
@pytest.mark.parametrize("how", [shutil.copytree, shutil.move], ids=["copied", "moved"])
def test_a_copied_or_moved_repository_leaves_the_original_alone(place, later, monkeypatch, capsys, how):
    tiny_model(place)
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
    deliver(place)
    with tracking.stage("sample") as run:
        run.artifacts("data/models/cgan/config.json")
    copy = place.with_name(f"{place.name}-copy")
    how(place, copy)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    in_repository(monkeypatch, copy)
    said = []
    assert delivery.deliver_all(copy / "outbox", said.append) == (0, 1)
    assert f"keeps its artifacts in {place}/mlartifacts, not beside it: " in said[0]
    assert "'condgen relocate'" in said[0]
    draw = ["draw", "1", "--model", "models:/condgen-cgan@latest", "--out", "1.png"]
    if how is shutil.move:
        with pytest.raises(SystemExit, match=f"is not in {place}/mlartifacts, .* 'condgen relocate'"):
            main(draw)
        in_repository(monkeypatch, copy)
    for _ in range(2):
        main(["relocate"])
    assert "its artifacts are where it expects them" in capsys.readouterr().out
    client, found = deliver(copy)
    uri = found["sample"].info.artifact_uri
    assert uri.startswith((copy / "mlartifacts").as_uri())
    assert list(artifacts(client, found["sample"].info.run_id)) == ["models/cgan/config.json"]
    with pytest.raises(SystemExit, match="damaged"):  # its weights are no weights, but it was found
        main(draw)
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
    shutil.rmtree(copy)


@pytest.mark.attack
@pytest.mark.parametrize("name", ["a'b\"c", "per%20cent", "q?x", f"{'x' * 200}/{'y' * 200}"])
def test_a_folder_that_mlflow_cannot_use_is_said_in_one_line(place, later, monkeypatch, capsys, name):
    folder = place / name / "repository"
    folder.mkdir(parents=True)
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(place / file, folder)
    in_repository(monkeypatch, folder)
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tracking: MLflow cannot use {folder}/mlflow.db: it must have at most 400 bytes")
    assert line.endswith("or set MLFLOW_TRACKING_URI: this stage runs untracked")
    assert sorted(os.listdir(folder)) == ["dvc.yaml", "params.yaml"]
    with pytest.raises(SystemExit, match="condgen: MLflow cannot use "):
        main(["compare"])
    # Another place for the store is the way out.
    tiny_model(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
    assert delivery.deliver_all(folder / "outbox", pytest.fail) == (1, 0)


@pytest.mark.attack
@pytest.mark.parametrize("name", ["it's 100% #1 [x]; ü&y=2", 'a"b`c:d@e'])
def test_other_odd_folders_work(place, later, monkeypatch, name):
    folder = place / name
    folder.mkdir(parents=True)
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(place / file, folder)
    in_repository(monkeypatch, folder)
    tiny_model(folder)
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
        run.artifacts("data/models/cgan/config.json")
    client, found = deliver(folder)
    assert list(artifacts(client, found["train_cgan"].info.run_id)) == ["models/cgan/config.json"]
    assert store.existing().latest("") is not None


@pytest.mark.attack
@pytest.mark.slow
def test_the_ui_shows_artifacts_and_lets_nobody_replace_files_of_a_model(place, later, root):
    tiny_model(place)
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
        run.artifacts("data/models/cgan/config.json")
    _, found = deliver(place)
    (model,) = (place / "mlartifacts/models").glob("*/artifacts/MLmodel")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    before, url = model.read_text(), f"http://127.0.0.1:{port}"

    def status(path, **options):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/{path}", **options)) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    words = ["make", "-f", root / "Makefile", "-o", "setup", "ui", f"PORT={port}"]
    env = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(words, env=env, start_new_session=True) as ui:
        try:
            until(lambda: status("health") == 200)
            path = model.relative_to(place / "mlartifacts").as_posix()
            put = status(f"api/2.0/mlflow-artifacts/artifacts/{path}", data=b"planted", method="PUT")
            shown = status(
                f"get-artifact?path=models/cgan/config.json&run_uuid={found['train_cgan'].info.run_id}"
            )
        finally:
            os.killpg(ui.pid, signal.SIGKILL)
    assert (put, shown) == (503, 200)
    assert model.read_text() == before


# A logged model


# What the pipeline needs and MODEL_PACKAGES does not bring.
OTHERS = ["condgen.tracking", "dvc", "mlxtend", "psutil", "torchmetrics", "torchvision", "tqdm"]


@pytest.mark.parametrize("left_out", [[], ["safetensors"]])
def test_a_logged_model_loads_and_draws_with_the_packages_that_it_names(place, later, cgan_params, left_out):
    network = cgan.build(cgan_params.model_copy(update={"hidden": 8}), DIGITS, 0)
    files.write_model("data/models/cgan", network.state_dict(), dict(network.config, model="cgan"))
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits", DIGITS.classes, DIGITS.shape)
    deliver(place)
    script = """
        import sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name in sys.argv[2:]:
                    raise ModuleNotFoundError(f"no module {name}")

        sys.meta_path.insert(0, Blocked())
        import mlflow, numpy as np
        mlflow.set_tracking_uri(sys.argv[1])
        model = mlflow.pyfunc.load_model("models:/condgen-cgan@latest")
        print(model.predict(np.array([3, 1]), {"n": 4}).shape)
        # The example that is stored with the model is a request that it answers.
        stored = mlflow.models.Model.load("models:/condgen-cgan@latest")
        example = stored.load_input_example("models:/condgen-cgan@latest")
        params = stored.load_input_example_params("models:/condgen-cgan@latest")
        assert model.predict(example, params).shape == (6, 28, 28)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), f"sqlite:///{place}/mlflow.db", *OTHERS, *left_out],
        cwd=place.parent, capture_output=True, text=True,
    )  # fmt: skip
    if left_out:
        assert "no module safetensors" in done.stderr
    else:
        assert done.stdout.strip() == "(8, 28, 28)", done.stderr


# Where runs go


def test_a_relative_sqlite_address_counts_from_the_root(place, later, monkeypatch):
    (place / "deep").mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(place / name, place / "deep")
    monkeypatch.chdir(place / "deep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with tracking.stage("sample"):
        pass
    assert journal.events(journals(place)[0])[0]["uri"] == "sqlite:///mlflow.db"
    deliver(place)
    assert not (place / "deep/mlflow.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["condgen", "compare"],
        ["condgen", "trace", "x"],
        ["condgen", "deliver"],
        ["condgen", "draw", "1", "--model", "models:/x/1", "--out", "x.png"],
        ["condgen.tracking", "outbox/x"],
    ],
)
def test_telemetry_and_pickle_are_off_before_mlflow_is_imported(place, root, words):
    script = """
        import os, runpy, sys

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "mlflow":
                    wanted = ("DISABLE_TELEMETRY", "ALLOW_PICKLE_DESERIALIZATION")
                    print(*(os.environ[f"MLFLOW_{key}"] for key in wanted), flush=True)
                    os._exit(0)

        sys.meta_path.insert(0, Finder())
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    """
    env = {k: v for k, v in os.environ.items() if "MLFLOW" not in k} | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *words], env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == ["true", "false"], done.stderr


@pytest.mark.parametrize("to", ["sqlite:///other.db", "sqlite:///{place}/other.db"])
def test_a_store_that_is_named_may_be_relative(place, later, to, empty_db):
    shutil.copy(empty_db, place / "other.db")
    with tracking.stage("sample"):
        pass
    main(["deliver", "--to", to.format(place=place)])
    assert "sample" in runs(f"sqlite:///{place}/other.db")[1]


def test_a_password_is_taken_from_the_address_at_hand(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    assert delivery._with_password("http://host:5000") == "http://me:secret@host:5000"
    assert delivery._with_password("http://other:5000") == "http://other:5000"


SECRETS = [
    "http://me:secret@host:5000/a", "http://me:se@cret@host:5000/a", "https://secret@host/a",
    "http://me:se/cret@host/a", "http://me:se?cret@host/a", f"https://{'secret' * 200}@host/a",
    "postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=a@b&password=secret",
    "mysql+pymysql://me:x@host/db?ssl_key_password=secret",
]  # fmt: skip


@pytest.mark.attack
@pytest.mark.parametrize("uri", SECRETS, ids=lambda uri: uri[:40])
def test_no_secret_of_an_address_is_written_or_shown(place, later, monkeypatch, capsys, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def fail(*_):
        raise ValueError(f"{'The server at hand is gone. ' * 8} cannot reach {uri}: refused")

    monkeypatch.setattr(delivery, "connect", fail)
    monkeypatch.setattr(store, "MlflowClient", fail)
    with pytest.raises(ValueError, match="refused"), tracking.stage("sample"):
        fail()
    delivery.deliver_all(place / "outbox", courier.say, uri)
    with pytest.raises(store.UserError) as caught:
        store.existing()
    shown = str(caught.value) + capsys.readouterr().err
    assert "is not delivered: The server at hand is gone." in shown
    kept = (journals(place)[0] / "events.jsonl").read_text()
    assert "cret" not in shown + kept
    assert "//me" not in shown + kept, "nor the half of a login"
    assert "://" in shown
    assert delivery._with_password(json.loads(kept.splitlines()[0])["uri"]) == uri


def test_what_is_no_secret_is_shown():
    assert without_secrets("sqlite:////home/a@b/q?x/mlflow.db") == "sqlite:////home/a@b/q?x/mlflow.db"
    assert without_secrets("models:/condgen-cvae@champion: a@b?") == "models:/condgen-cvae@champion: a@b?"
    assert (
        without_secrets("see http://host:5000/#/runs/1, then a@b")
        == "see http://host:5000/#/runs/1, then a@b"
    )


def test_an_error_is_cut_between_words(place):
    assert one_line(ValueError("refused " * 99)) == "refused " * 37 + "..."
    assert one_line(KeyboardInterrupt()) == one_line("") == ""
    assert one_line(TimeoutError()) == "TimeoutError"


def test_the_store_says_in_one_line_what_it_lacks(place):
    with pytest.raises(store.UserError, match=r"has no experiment condgen: 'dvc repro' makes it"):
        store.existing()
    (place / "mlflow.db").unlink()
    with pytest.raises(store.UserError, match=r"mlflow.db does not exist"):
        store.existing()
