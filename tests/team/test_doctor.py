"""`condgen doctor`: each check tells what it saw, leaves nothing behind, and says no secret."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from condgen.base.errors import UserError
from condgen.team import doctor, remote
from condgen.tracking import health
from condgen.tracking.health import Unusable

PASSWORD = "hunter2hunter2"


def git(*words, cwd):
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a commit and a bare origin; the working directory of the test."""
    bare, here = tmp_path / "origin.git", tmp_path / "here"
    here.mkdir()
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_", "MNIST_MIRROR", "GIT_")):
            monkeypatch.delenv(name)
    for who in ("AUTHOR", "COMMITTER"):
        for what in ("NAME", "EMAIL"):
            monkeypatch.setenv(f"GIT_{who}_{what}", "t@example.org")
    git("init", "-q", "--bare", "-b", "trunk", str(bare), cwd=tmp_path)
    git("init", "-q", "-b", "trunk", cwd=here)
    (here / "dvc.yaml").write_text("stages: {}\n")
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "start", cwd=here)
    git("remote", "add", "origin", str(bare), cwd=here)
    git("push", "-q", "origin", "trunk", cwd=here)
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def served():
    """Starts HTTP servers that answer as a function says: path -> (status, text)."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, text = answer(self.path)
                self.send_response(status)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            do_HEAD = do_POST = do_GET

            def log_message(self, *words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_remote_that_takes_pushes_is_well_and_stays_as_it_was(repository):
    before = git("ls-remote", "origin", cwd=repository)
    assert doctor.git_remote().endswith("reached, may push")
    assert git("ls-remote", "origin", cwd=repository) == before


def test_a_git_daemon_that_takes_no_pushes_is_told_from_one_that_cannot_be_reached(repository, tmp_path):
    port = free_port()
    words = ["git", "daemon", f"--base-path={tmp_path}", "--export-all", "--listen=127.0.0.1"]
    daemon = subprocess.Popen([*words, f"--port={port}"], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        git("remote", "set-url", "origin", f"git://127.0.0.1:{port}/origin.git", cwd=repository)
        end = time.monotonic() + 60
        while True:
            with pytest.raises(Unusable) as refused:
                doctor.git_remote()
            if "cannot be reached" not in refused.value.seen or time.monotonic() > end:
                break
        assert "reached, but refuses pushes" in refused.value.seen
        assert "--enable=receive-pack" in refused.value.do
    finally:
        os.killpg(daemon.pid, 15)
        daemon.wait()
    with pytest.raises(Unusable, match="cannot be reached"):
        doctor.git_remote()


def test_without_an_origin_the_line_says_how_to_add_one(repository):
    git("remote", "remove", "origin", cwd=repository)
    with pytest.raises(Unusable) as missing:
        doctor.git_remote()
    assert missing.value.do == "git remote add origin ADDRESS"


def test_no_password_is_in_a_line(repository, monkeypatch):
    git("remote", "set-url", "origin", f"http://me:{PASSWORD}@127.0.0.1:{free_port()}/x.git", cwd=repository)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{PASSWORD}@127.0.0.1:{free_port()}")
    monkeypatch.setenv("SOME_SECRET_KEY", "s3s3s3s3")

    def leaky():
        raise ValueError("the key s3s3s3s3 is wrong")

    checks = {"git remote": doctor.git_remote, "tracking": health.check, "leaky": leaky}
    said = "\n".join(str(line) for line in doctor.together(checks))
    assert said.count("\n") == 2
    assert "cannot be reached" in said
    assert PASSWORD not in said
    assert "s3s3s3s3" not in said


def test_a_check_that_hangs_does_not_hide_the_others():
    over = threading.Event()
    lines = doctor.together({"slow": over.wait, "quick": lambda: "well"}, seconds=0.2)
    over.set()
    assert [line.ok for line in lines] == [False, True]
    assert str(lines[0]).startswith("not  slow         no answer within 0.2 s: ")
    assert str(lines[1]) == "ok   quick        well"


def dvc(repository, *words):
    words = [sys.executable, "-m", "dvc", *words]
    subprocess.run(words, cwd=repository, check=True, capture_output=True)


def test_the_dvc_remote(repository, served, tmp_path):
    dvc(repository, "init", "-q")
    with pytest.raises(Unusable, match="no default remote"):
        remote.check(repository)
    shared = tmp_path / "shared"
    shared.mkdir()
    dvc(repository, "remote", "add", "-d", "store", str(shared / "new"))
    assert remote.check(repository).endswith("reached, may write")
    assert not list(shared.iterdir()), "the first push makes the folder"
    web = served(lambda path: (200, ""))
    dvc(repository, "remote", "add", "-f", "-d", "store", web)
    with pytest.raises(Unusable, match="plain HTTP cannot be written"):
        remote.check(repository)
    dvc(repository, "remote", "add", "-f", "-d", "store", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unusable, match="cannot be reached"):
        remote.check(repository)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ((200, "3.0.0"), r"MLflow 3\.0\.0, but here is"),
        ((200, "99.1.0"), r"MLflow 99\.1\.0, but here is"),
        ((401, "You are not authenticated"), "the login is refused"),
        ((403, "Invalid Host header - possible DNS rebinding attack detected"), "answers with status 403"),
        ((200, "<html>hello</html>"), "is no MLflow server"),
    ],
)
def test_a_server_that_does_not_fit(repository, served, monkeypatch, answer, seen):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served(lambda path: answer))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    with pytest.raises(Unusable, match=seen):
        health.check()


def test_the_store_of_this_machine(repository, monkeypatch):
    assert health.check() == "mlflow.db, a file of this machine, which the first run makes"
    assert not Path("mlflow.db").exists()


def test_packages_that_are_missing_too_old_or_not_as_tested(tmp_path):
    project = (
        '[project]\ndependencies = {}\n[project.optional-dependencies]\nsweep = ["not-there-at-all>=1"]\n'
    )
    (tmp_path / "pyproject.toml").write_text(project.format('["pytest>=1"]'))
    (tmp_path / "constraints.txt").write_text("pytest==1.0\n")
    assert "not as tested: pytest" in doctor.packages(tmp_path, cluster=False)
    with pytest.raises(Unusable, match="not-there-at-all is missing"):
        doctor.packages(tmp_path, cluster=True)
    (tmp_path / "pyproject.toml").write_text(project.format('["pytest>=1000"]'))
    with pytest.raises(Unusable, match="but must be >=1000"):
        doctor.packages(tmp_path, cluster=False)


def test_a_full_disk(repository, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 10**9))
    with pytest.raises(Unusable, match=r"1\.0 GB are free"):
        doctor.disk()


def test_sources_of_the_data_set(checkout, served, monkeypatch):
    assert "a few digits, in data/dataset.npz" in doctor.data()
    Path("data/dataset.npz").unlink()
    assert doctor.data().startswith("5,000 MNIST digits bundled")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("source: bundled", "source: mirrors"))
    mirror = served(lambda path: (200 if path == "/train-images-idx3-ubyte.gz" else 404, ""))
    monkeypatch.setenv("MNIST_MIRROR", mirror.replace("//", f"//me:{PASSWORD}@"))
    assert doctor.data() == f"MNIST from {mirror}"
    from torchvision import datasets

    monkeypatch.setattr(datasets.MNIST, "mirrors", [])
    monkeypatch.setenv("MNIST_MIRROR", "no/such/folder")
    with pytest.raises(Unusable, match="no MNIST from no/such/folder"):
        doctor.data()


def test_a_cluster_that_is_not_there():
    with pytest.raises(Unusable, match="cannot be reached"):
        doctor.ray_cluster(f"127.0.0.1:{free_port()}")
    with pytest.raises(Unusable, match="must be HOST:PORT"):
        doctor.ray_cluster("nonsense")


def test_one_failure_is_a_failure(monkeypatch, capsys):
    def refuse():
        raise Unusable("the disk is full", "make room")

    monkeypatch.setattr(doctor, "disk", refuse)
    for check in ("data", "git_remote", "packages"):
        monkeypatch.setattr(doctor, check, lambda *words: "well")
    monkeypatch.setattr(remote, "check", lambda root: "well")
    monkeypatch.setattr(health, "check", lambda: "well")
    with pytest.raises(UserError, match="1 of the checks failed"):
        doctor.main(None)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert "not  disk         the disk is full: make room" in said
