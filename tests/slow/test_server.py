"""A real tracking server that is killed in the middle of training, and a real model server that answers."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import mlflow
import numpy as np
import pytest
from PIL import Image

from clone import Clone

pytestmark = pytest.mark.slow
EPOCHS = 150
# Without telemetry, and without the seven processes that wait for jobs of MLflow's other half.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


class Server:
    """`mlflow server` with a store of its own; it can be killed and started again at the same address."""

    def __init__(self, folder, env):
        self.folder, self.env, self.port = folder, env, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        words = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: answers(f"{self.uri}/health"))

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status == 200
    except OSError:
        return False


def until(condition):
    end = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory):
    return Clone(root, tmp_path_factory.mktemp("server") / "condgen", cgan__epochs=EPOCHS)


@pytest.fixture(scope="module")
def server(clone):
    folder = clone.path.parent / "server"
    folder.mkdir()
    server = Server(folder, dict(clone.env, **QUIET))
    server.start()
    clone.env["MLFLOW_TRACKING_URI"] = server.uri
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    return mlflow.MlflowClient(server.uri)


def children(client, stage):
    experiment = client.get_experiment_by_name("condgen").experiment_id
    query = f"tags.stage = '{stage}'"
    return client.search_runs([experiment], query, order_by=["attributes.start_time ASC"])


def content(client, run, folder):
    """All that a server holds of a run, without ids and what is measured with a clock."""
    run_id = run.info.run_id
    folder.mkdir()
    client.download_artifacts(run_id, "", str(folder))
    pictures, others = {}, {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("images/"):
            others[name] = path.read_bytes()
        elif name.startswith("images/samples") and name.endswith(".png"):  # the last are final.png, too
            with Image.open(path) as picture:
                pictures[int(re.search(r"\Wstep\W(\d+)", name)[1])] = np.asarray(picture).tobytes()
    model = folder / "model"
    model.mkdir()
    (logged,) = run.outputs.model_outputs
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.artifacts.download_artifacts(f"models:/{logged.model_id}", dst_path=str(model))
    files = {p.relative_to(model).as_posix(): p.read_bytes() for p in model.rglob("*") if p.is_file()}
    files.pop("MLmodel")  # it names its run and the time
    files.pop("registered_model_meta", None)
    ours = ("stage", "code", "changed", "device", "threads", "torch", "git.commit", "dvc.experiment")
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": {
            key: [
                (m.step, m.value if key != "images_per_second" else None)
                for m in client.get_metric_history(run_id, key)
            ]
            for key in run.data.metrics
            if not key.startswith("system/")  # looks at the machine, by the clock
        },
        "tags": {k: v for k, v in run.data.tags.items() if k in ours or k.startswith("mlflow.condgen.")},
        "data": [(used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs],
        "pictures": pictures,
        "artifacts": others,
        "model": files,
    }


@pytest.fixture(scope="module")
def undisturbed(clone, server, client, tmp_path_factory):
    clone.run("python", "stages/download.py")
    clone.run("python", "stages/train_cgan.py")
    (run,) = children(client, "train_cgan")
    return content(client, run, tmp_path_factory.mktemp("undisturbed") / "run")


def test_a_server_that_dies_in_the_middle_of_training_holds_the_same_in_the_end(
    clone, server, client, undisturbed, tmp_path
):
    assert len(undisturbed["metrics"]["d_loss"]) == EPOCHS
    assert sorted(undisturbed["pictures"]) == [*range(11), *range(15, EPOCHS + 1, 5)]
    assert "artifacts/cgan/model.safetensors" in undisturbed["model"]
    stage = subprocess.Popen(
        ["python", "stages/train_cgan.py"],
        cwd=clone.path, env=clone.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: len(children(client, "train_cgan")) == 2)
    run = children(client, "train_cgan")[1].info.run_id
    until(lambda: client.get_metric_history(run, "d_loss"))
    server.kill()
    said = stage.communicate(timeout=500)[1]
    assert stage.returncode == 0, said
    assert "MLflow does not have all of this run" in said
    assert [path.name for path in (clone.path / "outbox").glob("2*")]

    server.start()
    half = client.get_metric_history(run, "d_loss")
    assert 0 < len(half) < EPOCHS
    clone.run("python", "stages/download.py")  # the next stage
    until(lambda: not list((clone.path / "outbox").glob("2*")))
    again = content(client, client.get_run(run), tmp_path / "run")
    for part, held in undisturbed.items():
        assert again[part] == held, part
    assert again.keys() == undisturbed.keys()
    parent = client.get_run(client.get_run(run).data.tags["mlflow.parentRunId"])
    assert parent.info.status == "FINISHED"


def test_a_server_that_comes_back_while_training_goes_on_has_all_of_it_at_its_end(clone, server, client):
    before = len(children(client, "train_cgan"))
    stage = subprocess.Popen(
        ["python", "stages/train_cgan.py"],
        cwd=clone.path, env=clone.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: len(children(client, "train_cgan")) > before)
    server.kill()
    threading.Timer(0.5, server.start).start()
    said = stage.communicate(timeout=500)[1]
    assert stage.returncode == 0, said
    until(lambda: answers(f"{server.uri}/health"))
    if list((clone.path / "outbox").glob("2*")):  # training was quicker than the server
        clone.run("python", "-m", "condgen", "deliver")
    run = children(client, "train_cgan")[-1]
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "d_loss")) == EPOCHS


def test_a_registered_model_is_served_and_draws(clone, server, client, undisturbed):
    version = client.get_model_version_by_alias("condgen-cgan", "latest")
    port = free_port()
    words = ["mlflow", "models", "serve", "-m", "models:/condgen-cgan@latest", "--env-manager", "local"]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    served = subprocess.Popen(
        words, cwd=clone.path.parent, env=clone.env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"))
        answer, status = ask(port, {"inputs": [3, 1, 4], "params": {"n": 2, "seed": 5}})
        assert status == 200
        images = np.array(answer["predictions"])
        assert images.shape == (6, 28, 28)
        assert images.min() >= 0
        assert images.max() <= 255
        assert ask(port, {"inputs": [3, 1, 4], "params": {"n": 2, "seed": 5}})[0] == answer
        for wrong, said in {
            '{"inputs": [11]}': "labels is [11], but must be a list of one or more digits, each a whole",
            '{"inputs": [9.99]}': "labels is [9.99], but must be",
            '{"inputs": [1], "params": {"n": 10001}}': "n is 10001, but must be",
            '{"inputs": [1], "params": {"seed": -1}}': "seed is -1, but must be",
        }.items():
            answer, status = ask(port, json.loads(wrong))
            assert status == 400
            assert said in answer["message"]
    finally:
        os.killpg(served.pid, signal.SIGKILL)
        served.wait()
    assert version.run_id


def ask(port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=400) as response:
            return json.load(response), response.status
    except urllib.error.HTTPError as error:
        return json.load(error), error.code


def test_couriers_leave(clone):
    import psutil

    def left():
        words = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        return [found for found in words if str(clone.path) in found]

    until(lambda: not left())
