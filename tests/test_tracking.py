"""MLflow holds what happened, and a tracking server that fails stops nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time

import mlflow
import numpy as np
import pytest

from condgen import tracking


@pytest.fixture
def store(root, tmp_path, monkeypatch):
    """A store of its own below tmp_path; the working directory has params.yaml."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((root / name).read_text())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("condgen")
    found = client.search_runs([experiment.experiment_id])
    return client, {
        run.info.run_name if "mlflow.parentRunId" in run.data.tags else "parent": run for run in found
    }


def test_a_stage_is_a_child_of_its_execution_and_holds_what_it_logged(store):
    with tracking.stage("train_cgan") as run:
        (store / "data/models/cgan").mkdir(parents=True)
        (store / "data/models/cgan/config.json").write_text("hello")
        for epoch in range(1, 13):
            run.epoch(epoch, {"loss": 1 / epoch}, np.full((100, 28, 28), epoch, np.uint8))
        run.numbers({"cgan": {"accuracy": 0.5, "by_digit": [0.1, 0.2], "note": "text"}})
    client, found = runs(store)
    child, parent = found["train_cgan"], found["parent"]
    assert child.info.status == parent.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["stage"] == "train_cgan"
    # MD5 of "hello", as md5sum and dvc.lock give it.
    assert child.data.tags["wrote/data/models/cgan/config.json"] == "5d41402abc4b2a76b9719d911017c592"
    assert child.data.params["cgan.lr"] == "0.001"
    assert "cvae.lr" not in child.data.params
    assert {"cgan.lr", "cvae.lr", "seed", "data.source"} <= set(parent.data.params)
    history = client.get_metric_history(child.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(e, 1 / e) for e in range(1, 13)]
    assert [m.value for m in client.get_metric_history(child.info.run_id, "cgan.by_digit")] == [0.1, 0.2]
    images = [a.path for a in client.list_artifacts(child.info.run_id, "images")]
    steps = {re.search(r"\Wstep\W(\d+)", path)[1] for path in images}
    assert steps == {str(e) for e in [*range(1, 11), 12]}, "the last epoch is kept too"


def test_stages_of_one_execution_share_a_parent_and_artifacts_outlive_the_working_copy(store, monkeypatch):
    copy = store / "copy"
    copy.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (copy / name).write_text((store / name).read_text())
    monkeypatch.chdir(copy)  # as below .dvc/tmp/exps
    monkeypatch.setenv("DVC_EXP_NAME", "bold-bat")
    for name in ("train_cvae", "sample"):
        (copy / "data").mkdir(exist_ok=True)
        (copy / "data/a.txt").write_text(name)
        with tracking.stage(name) as run:
            run.artifacts("data/a.txt")
    _, found = runs(store)
    assert set(found) == {"train_cvae", "sample", "parent"}
    assert found["parent"].info.run_name == "bold-bat"
    assert found["parent"].data.tags["dvc.experiment"] == "bold-bat"
    artifact = found["sample"].info.artifact_uri
    assert artifact.startswith((store / "mlartifacts").as_uri())
    assert mlflow.artifacts.load_text(f"{artifact}/a.txt") == "sample"


def test_an_error_marks_the_stage_and_the_pipeline_failed(store):
    with pytest.raises(RuntimeError, match="boom"), tracking.stage("sample"):
        raise RuntimeError("boom")
    _, found = runs(store)
    assert {run.info.status for run in found.values()} == {"FAILED"}
    assert found["sample"].data.tags["error"] == "boom"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_killed_stage_is_killed_in_mlflow_too(store, root, number):
    script = """
        import signal, sys, time
        # A suite that was started in the background hands down SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, sys.argv[1])
        from condgen import tracking
        with tracking.stage("train_cvae"):
            print("started", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root / "src")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.wait(30) != 0
    _, found = runs(store)
    assert {run.info.status for run in found.values()} == {"KILLED"}


def test_a_server_that_is_not_there_costs_seconds_and_the_run_is_kept_locally(store, monkeypatch, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    start = time.monotonic()
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
    assert time.monotonic() - start < 30
    _, found = runs(store)
    assert found["sample"].data.metrics == {"a": 1.0}
    said = capsys.readouterr().err
    assert "MLflow cannot use" in said
    assert "is kept in sqlite" in said
    assert "secret" not in said


def test_a_store_that_fails_in_the_middle_stops_nothing_and_the_run_still_ends(store, capsys, monkeypatch):
    with tracking.stage("sample") as run:
        for broken in ("log_batch", "set_tag", "log_image"):
            monkeypatch.setattr(run.client, broken, lambda *a, **k: (_ for _ in ()).throw(OSError("gone")))
        for _ in range(10):
            run.numbers({"a": 1.0})
        run.describe("text")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tracking:")]
    assert len(said) == tracking.STRIKES
    assert said[0].endswith("goes on")
    assert said[-1].endswith("logs no more")
    _, found = runs(store)
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_a_store_that_fails_while_a_stage_begins_leaves_nothing_running(store, monkeypatch, capsys):
    real = tracking._log_params
    calls = []

    def failing(client, run, values):
        calls.append(run)
        if len(calls) == 2:  # the child's, at the address that was asked for
            raise OSError("no space left on device")
        real(client, run, values)

    monkeypatch.setattr(tracking, "_log_params", failing)
    (store / "other").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/other/mlflow.db")
    with tracking.stage("sample") as run:
        run.numbers({"a": 1.0})
    assert "no space left" in capsys.readouterr().err
    _, here = runs(store)
    assert {run.info.status for run in here.values()} == {"FINISHED"}
    assert here["sample"].data.metrics == {"a": 1.0}
    _, there = runs(store / "other")
    assert {run.info.status for run in there.values()} == {"FAILED"}


def test_a_pipeline_is_as_well_as_its_stages(store):
    with pytest.raises(RuntimeError), tracking.stage("train_cvae"):
        raise RuntimeError("boom")
    with tracking.stage("train_cgan"):  # dvc repro --keep-going
        pass
    _, found = runs(store)
    assert found["train_cgan"].info.status == "FINISHED"
    assert found["parent"].info.status == "FAILED"


def test_an_experiment_that_was_deleted_in_the_ui_is_taken_up_again(store):
    with tracking.stage("sample"):
        pass
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    client.delete_experiment(client.get_experiment_by_name("condgen").experiment_id)
    with tracking.stage("evaluate"):
        pass
    assert "evaluate" in runs(store)[1]


def test_two_stages_that_start_at_once_on_a_fresh_store_are_both_kept(store, root):
    script = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from condgen import tracking
        with tracking.stage(sys.argv[2]) as run:
            assert run.client is not None
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(root / "src")]
    both = [subprocess.Popen([*words, name]) for name in ("train_cvae", "train_cgan")]
    assert [process.wait(120) for process in both] == [0, 0]
    client, _ = runs(store)
    experiment = client.get_experiment_by_name("condgen").experiment_id
    assert len(client.search_runs([experiment])) == 4, "two executions, each with a parent and a child"


def test_a_relative_sqlite_address_counts_from_the_root(store, monkeypatch):
    (store / "deep").mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (store / "deep" / name).write_text((store / name).read_text())
    monkeypatch.chdir(store / "deep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with tracking.stage("sample"):
        pass
    assert (store / "mlflow.db").exists()
    assert not (store / "deep/mlflow.db").exists()


def test_telemetry_is_off(root):
    env = {k: v for k, v in os.environ.items() if "MLFLOW" not in k}
    script = "import sys; sys.path.insert(0, sys.argv[1]); import condgen.tracking, os\n"
    script += "print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", script, root / "src"], env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() == "true"
