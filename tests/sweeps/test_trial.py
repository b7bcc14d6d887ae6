"""What a trial does while a server is down."""

import os
import sys
from pathlib import Path

import pytest

from condgen.base.errors import UserError
from condgen.sweeps import trial


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
