"""What a trial does while a server is down."""

import os
import sys
from pathlib import Path

import pytest

from condgen.base.errors import UserError
from condgen.sweeps import trial
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
    second = trial.Trial(home, "lr-1", {}, tmp_path / ("there/lr-1" if cluster else "here/lr-1"))
    assert (second.clone / stored).read_text() == "epoch 3"
    second.stop("worse than others")
    assert not list(tmp_path.rglob(stored.name)), "a trial that ended needs no state"


def test_a_trial_says_what_its_commands_took(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(trial.Trial, "_begin", lambda self: self._call(["git", "status", "--short"]))
    commit = trial.git("rev-parse", "HEAD", cwd=repository)
    home = trial.Home("lr", str(repository), commit, "cache", str(tmp_path))
    took = trial.Trial(home, "lr-1", {}, tmp_path / "lr-1").took
    assert list(took) == ["git clone", "git status"]
    assert min(took.values()) > 0
