"""Every way of running the pipeline leaves the same kind of record in MLflow.

`dvc repro`, `dvc exp run --temp`, a stage by hand, and eight queued experiments of two workers, beside a
`dvc repro` and the UI. The plain `dvc exp run` is in test_pipeline.py.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import mlflow
import pytest
import yaml

from clone import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RATES = [0.0001 * n for n in range(1, 9)]


@pytest.fixture(scope="module")
def ways(root, tmp_path_factory):
    clone = Clone(root, tmp_path_factory.mktemp("ways") / "condgen", threads=1)
    clone.run("dvc", "repro")
    clone.commit("results")
    return clone


def test_an_experiment_in_a_temporary_copy_is_recorded_like_any_other(ways):
    output = ways.run("dvc", "exp", "run", "--temp", "-n", "tidy-toad", "-S", "evaluate.gan_train_epochs=2")
    assert "Running stage 'evaluate'" in output
    parent, children = ways.runs()["tidy-toad"]
    assert list(children) == ["evaluate"]
    assert parent.data.tags["changed"] == "evaluate.gan_train_epochs=2"
    assert parent.data.metrics["cgan.frechet_distance"] > 0
    assert parent.data.tags["reused.sample"].startswith("sample · ")
    assert mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/report.html").startswith("<!doctype html>")


def test_a_stage_run_by_hand_is_recorded_as_a_pipeline_of_one_stage(ways):
    before = set(ways.runs())
    ways.run("git", "checkout", "-q", "-b", "by-hand")
    ways.run("python", "stages/sample.py")
    ways.run("git", "checkout", "-q", "trunk")
    (name,) = set(ways.runs()) - before
    assert name.startswith("by-hand@")
    parent, children = ways.runs()[name]
    assert list(children) == ["sample"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["reused.train_cvae"].startswith("train_cvae · ")


PAGES = {
    "/": None,
    "/ajax-api/2.0/mlflow/experiments/search?max_results=10": None,
    "/ajax-api/2.0/mlflow/runs/search": {"experiment_ids": ["1"], "max_results": 100},
    "/ajax-api/2.0/mlflow/registered-models/search": None,
}


class UI(threading.Thread):
    """`make ui`, and a thread that requests its pages several times a second."""

    def __init__(self, clone):
        super().__init__(daemon=True)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        self.log = clone.path.parent / "ui.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["make", "-o", "setup", "ui", f"PORT={self.port}"],
                cwd=clone.path, env=clone.env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 400
        while self.answer("/") != 200:
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)
        self.answers, self.closing = Counter(), threading.Event()
        self.start()

    def answer(self, page, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{page}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=400) as response:
                response.read()
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            return str(error)

    def run(self):
        while not self.closing.wait(0.3):
            for page, body in PAGES.items():
                self.answers[self.answer(page, body)] += 1

    def close(self):
        self.closing.set()
        self.join(60)
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


def change(clone, this, to):
    """Replaces the first occurrence of a text in params.yaml."""
    path = clone.path / "params.yaml"
    text = path.read_text()
    assert this in text
    path.write_text(text.replace(this, to, 1))


@pytest.fixture(scope="module")
def queued(ways):
    clone = ways
    rates = ",".join(f"{rate:.4f}" for rate in RATES)
    clone.run("dvc", "exp", "run", "--queue", "-S", f"cgan.lr={rates}")
    ui = UI(clone)
    with open(clone.path.parent / "workers.log", "w") as log:  # not a pipe, which workers would keep open
        words = ["dvc", "queue", "start", "-j", "2"]
        subprocess.run(words, cwd=clone.path, env=clone.env, stdout=log, stderr=log, check=True)
    change(clone, "seed: 0", "seed: 1")
    clone.beside = clone.run("dvc", "repro")
    end = time.monotonic() + 1500
    while "Running" in (status := clone.run("dvc", "queue", "status")) or "Queued" in status:
        assert time.monotonic() < end, status
        time.sleep(3)
    clone.run("dvc", "queue", "stop", "--kill", check=False)
    ui.close()
    clone.ui = ui
    assert status.count("Success") == len(RATES), status
    return clone


def outs(lock):
    """Path -> MD5 of every out in the text of a dvc.lock."""
    return {
        out["path"]: out["md5"] for stage in yaml.safe_load(lock)["stages"].values() for out in stage["outs"]
    }


def test_a_worker_and_a_repro_beside_it_give_the_same_results_as_alone(queued, root, tmp_path):
    experiments = queued.run("dvc", "exp", "list", "--name-only").split()
    times = {name: (run.info.start_time, run.info.end_time) for name, (run, _) in queued.runs().items()}
    start, end = max(span for name, span in times.items() if name not in experiments)  # the last `dvc repro`
    assert any(times[name][0] < end and start < times[name][1] for name in experiments if name in times)
    rate = f"{RATES[3]:.4f}"
    (name,) = [
        name
        for name, (parent, children) in queued.runs().items()
        if "train_cgan" in children and parent.data.params["cgan.lr"] == rate
    ]
    refs = queued.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    alone = Clone(root, tmp_path / "alone", threads=1, cgan__lr=rate)
    alone.run("dvc", "repro")
    expected = outs((alone.path / "dvc.lock").read_text())
    assert outs(queued.run("git", "show", f"{ref}:dvc.lock")) == expected

    change(alone, f"lr: {rate}", "lr: 0.001")
    change(alone, "seed: 0", "seed: 1")
    alone.run("dvc", "repro")
    beside = outs((alone.path / "dvc.lock").read_text())
    assert outs((queued.path / "dvc.lock").read_text()) == beside
    assert beside["data/models/cgan"] != expected["data/models/cgan"]


def test_the_ui_answers_while_all_runs_write(queued):
    assert set(queued.ui.answers) == {200}, queued.ui.answers
    assert queued.ui.answers[200] > 40
    logs = [queued.ui.log, *(queued.path / ".dvc/tmp/exps").rglob("*.out")]
    assert len(logs) > len(RATES)
    for said in [queued.beside, *(log.read_text(errors="replace") for log in logs)]:
        assert "database is locked" not in said
        # On a slow machine a run may be kept for the next stage, but MLflow must not fail.
        assert "MLflow cannot be used" not in said
        assert "MLflow refused" not in said


def test_eight_experiments_of_two_workers_are_eight_complete_runs(queued):
    names = queued.run("dvc", "exp", "list", "--name-only").split()
    runs = {name: found for name, found in queued.runs().items() if name in names and name != "tidy-toad"}
    mlflow.set_tracking_uri(f"sqlite:///{queued.path}/mlflow.db")
    assert len(runs) == len(RATES)
    assert sorted(float(parent.data.params["cgan.lr"]) for parent, _ in runs.values()) == pytest.approx(RATES)
    for name, (parent, children) in runs.items():
        assert sorted(children) == ["evaluate", "sample", "train_cgan"], name
        assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}, name
        assert parent.data.metrics["cgan.frechet_distance"] > 0
        assert parent.data.tags["dvc.experiment"] == name
        assert parent.data.tags["reused.train_cvae"].startswith("train_cvae · trunk@")
        training = children["train_cgan"]
        history = queued.client.get_metric_history(training.info.run_id, "d_loss")
        assert [m.step for m in history] == [1, 2, 3, 4]
        pictures = queued.client.list_artifacts(training.info.run_id, "images")
        assert sum(a.path.endswith(".png") for a in pictures) == 6, (
            "before training, four epochs, the final one"
        )
        page = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/report.html")
        assert page.startswith("<!doctype html>")
        (model,) = training.outputs.model_outputs
        folder = mlflow.artifacts.list_artifacts(f"models:/{model.model_id}")
        assert "MLmodel" in {a.path for a in folder}
    assert not list((queued.path / "outbox").glob("2*"))


def test_each_trained_model_is_one_version_and_the_best_is_the_champion(queued):
    versions = queued.client.search_model_versions("name = 'condgen-cgan'")
    assert len(versions) == 1 + len(RATES) + 1  # and those of the two `dvc repro`
    champion = queued.client.get_model_version_by_alias("condgen-cgan", "champion")
    best = min(versions, key=lambda version: float(version.tags["frechet_distance"]))
    assert float(champion.tags["frechet_distance"]) == float(best.tags["frechet_distance"])


def test_no_courier_is_left_running(queued):
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert f"condgen.tracking {queued.path}" not in listed


def test_the_outbox_is_empty_and_every_artifact_can_be_downloaded(queued, tmp_path):
    assert not list((queued.path / "outbox").glob("2*"))
    for name, (parent, children) in queued.runs().items():
        for run in [parent, *children.values()]:
            assert run.info.status == "FINISHED", (name, run.info.run_name)
            folder = tmp_path / run.info.run_id
            folder.mkdir()
            queued.client.download_artifacts(run.info.run_id, "", str(folder))
            if run is not parent:
                assert [p for p in folder.rglob("*") if p.is_file()], (name, run.info.run_name)
