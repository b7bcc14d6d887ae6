"""What a trial does while a server is down."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from condgen.base.errors import UserError
from condgen.sweeps import trial
from condgen.sweeps.plan import Failed
from condgen.training import checkpoint


class Clock:
    """A clock that only waiting moves."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    return clock


def failing(times, result="done"):
    """Raises UserError so many times; then returns."""
    left = [times]

    def do():
        left[0] -= 1
        if left[0] >= 0:
            raise UserError("git fetch: Connection refused")
        return result

    return do


def test_a_server_may_be_down_for_a_while(clock):
    assert trial.patiently(failing(5)) == "done"
    assert clock.now == 5 * trial.ATTEMPT_SECONDS
    with pytest.raises(UserError, match="Connection refused"):
        trial.patiently(failing(10**6))
    assert trial.PATIENCE <= clock.now <= trial.PATIENCE + 100
    with pytest.raises(UserError):
        trial.patiently(failing(1), 0)


def test_asking_whether_another_was_first_may_fail_too(clock, tmp_path):
    """Git is down: neither the push works nor the question whether it is needless."""
    asked = failing(3)
    words = [sys.executable, "-c", "raise SystemExit('cannot connect')"]
    log = tmp_path / "log.txt"
    trial.persist(words, tmp_path, log, os.environ, unless=asked)
    assert log.read_text().count("cannot connect") == 4


def test_a_machine_keeps_what_its_trials_pulled(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert trial.machines_cache() == Path("/somewhere/condgen/dvc")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert trial.machines_cache() == Path.home() / ".cache/condgen/dvc"


def test_a_git_server_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(trial, "SILENT_SECONDS", 0.01)
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 5 #")
    with pytest.raises(UserError, match="no answer within"):
        trial.git("ls-remote", "ssh://me@127.0.0.1/x", cwd=tmp_path)


@pytest.fixture
def repository(tmp_path):
    """A repository whose .gitignore names the folder of states, as condgen's does."""
    path = tmp_path / "repository"
    path.mkdir()
    (path / ".gitignore").write_text("/resume/\n")
    trial.git("init", "-q", cwd=path)
    trial.git("add", ".gitignore", cwd=path)
    trial.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a commit", cwd=path)
    return path


@pytest.mark.parametrize("cluster", [False, True])
def test_the_next_attempt_finds_the_epochs_that_the_one_before_stored(
    cluster, repository, tmp_path, monkeypatch
):
    """Also on another machine, if machines share CONDGEN_STATES."""
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: None)
    monkeypatch.setenv("CONDGEN_STATES", str(tmp_path / "shared"))
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    cache, folder = (None, None) if cluster else ("cache", str(tmp_path / "here"))
    home = trial.Home("lr", str(repository), commit, cache, folder)
    first = trial.Trial(home, "lr-1", {}, tmp_path / "here/lr-1")
    stored = Path(checkpoint.FOLDER, "train_cgan-abc")
    (first.clone / stored).write_text("epoch 3")
    assert trial.git("status", "--short", cwd=first.clone) == "", "DVC would commit it"
    assert not (trial.Trial(home, "lr-2", {}, tmp_path / "here/lr-2").clone / stored).exists()
    first.lock.release()  # as when its process died
    second = trial.Trial(home, "lr-1", {}, tmp_path / ("there/lr-1" if cluster else "here/lr-1"))
    assert (second.clone / stored).read_text() == "epoch 3"
    second.stop("interrupted")
    assert list(tmp_path.rglob(stored.name)), "a sweep that is resumed goes on with it"


def test_the_states_of_trials_that_nobody_went_on_with_are_deleted(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: None)
    monkeypatch.setenv("CONDGEN_STATES", str(tmp_path / "shared"))
    home = trial.Home("lr", str(repository), trial.git("rev-parse", "HEAD", cwd=repository), None, None)
    for name, days in (("old", trial.STATES_DAYS + 1), ("young", trial.STATES_DAYS - 1)):
        (tmp_path / "shared" / name).mkdir(parents=True)
        os.utime(tmp_path / "shared" / name, times=(time.time() - days * trial.DAY,) * 2)
    mine = tmp_path / "shared/lr-1"
    mine.mkdir()
    os.utime(
        mine, times=(time.time() - (trial.STATES_DAYS + 1) * trial.DAY,) * 2
    )  # of a sweep that is resumed
    trial.Trial(home, "lr-1", {}, tmp_path / "lr-1")
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"young", "lr-1"}


def test_a_second_trial_with_the_same_values_waits_for_the_first(repository, tmp_path, monkeypatch):
    """Optuna may choose the same values twice at once."""
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: None)
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    home = trial.Home("lr", str(repository), commit, "cache", str(tmp_path / "here"))
    held, ended = threading.Event(), []

    def run_first():  # in a thread, as Ray has it in a process
        first = trial.Trial(home, "lr-1", {}, tmp_path / "here/lr-1")
        (first.clone / "mine").touch()
        held.set()
        time.sleep(0.5)
        ended.append((first.clone / "mine").exists())
        first.stop("")

    thread = threading.Thread(target=run_first)
    thread.start()
    held.wait()
    trial.Trial(home, "lr-1", {}, tmp_path / "here/lr-1").lock.release()
    thread.join()
    assert ended == [True], "its clone was still there"


def test_a_training_that_the_system_killed_is_tried_again_and_one_that_failed_is_not(
    repository, tmp_path, monkeypatch
):
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    home = trial.Home("lr", str(repository), commit, "cache", str(tmp_path / "here"))

    def ends_with(said, then=""):
        words = [
            sys.executable,
            "-c",
            f"import os, sys; print({said!r}, file=sys.stderr); {then or 'sys.exit(1)'}",
        ]

        def begin(self):
            with open(self.log, "ab") as log:
                self.begun, self.process = 0.0, subprocess.Popen(words, stderr=log)

        monkeypatch.setattr(trial.Trial, "_begin", begin)
        one = trial.Trial(home, "lr-1", {}, tmp_path / "here/lr-1")
        try:
            one.finish()
        finally:
            one.lock.release()

    with pytest.raises(Failed):
        ends_with("ERROR: failed to reproduce 'train_cgan': python stages/train_cgan.py, exited with 1")
    with pytest.raises(UserError) as raised:
        ends_with("ERROR: failed to reproduce 'train_cgan': python stages/train_cgan.py, exited with -9")
    assert not isinstance(raised.value, Failed)
    for number in (9, 15):  # DVC itself: its log ends with whatever a stage said last
        with pytest.raises(UserError) as raised:
            ends_with("CGAN epoch 3", then=f"sys.stderr.flush(); os.kill(os.getpid(), {number})")
        assert not isinstance(raised.value, Failed)


def test_a_push_to_a_host_that_lost_its_power_is_tried_again(tmp_path, monkeypatch):
    """DVC would wait for its answer for ever."""
    asked = []
    monkeypatch.setattr(trial, "ATTEMPT_SECONDS", 0)

    def first_was_there():
        asked.append(1)
        return len(asked) > 1

    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    trial.persist(words, tmp_path, tmp_path / "log.txt", os.environ, unless=first_was_there, seconds=0.2)
    assert len(asked) == 2
    with pytest.raises(UserError, match=r"no answer within 0.2 s"):
        trial.call(words, tmp_path, tmp_path / "log.txt", os.environ, 0.2)


def test_a_clone_stays_until_every_courier_has_delivered(repository, tmp_path, monkeypatch, clock):
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: None)
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    home = trial.Home("lr", str(repository), commit, "cache", str(tmp_path / "here"))
    one = trial.Trial(home, "lr-1", {}, tmp_path / "here/lr-1")
    delivered = one.clone / "outbox/train_cgan-1"
    delivered.mkdir(parents=True)
    asked = []

    def call(self, words):  # `condgen deliver` passes over a journal that a courier has
        asked.append(words)
        if len(asked) == 3:
            delivered.rmdir()

    monkeypatch.setattr(trial.Trial, "_call", call)
    one._deliver()
    assert len(asked) == 3


def test_a_trial_says_what_its_commands_took(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: self._call(["git", "status", "--short"]))
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    home = trial.Home("lr", str(repository), commit, "cache", str(tmp_path))
    took = trial.Trial(home, "lr-1", {}, tmp_path / "lr-1").took
    assert list(took) == ["git clone", "git status"]
    assert min(took.values()) > 0
