"""The process beside a stage that brings its journal to MLflow.

A process of its own, so that neither MLflow's import nor a slow or dead server takes time from training. It
sees the stage end, however it ends, by the end of its standard input.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import Timeout

from condgen.base.pipeline import root
from condgen.tracking import journal
from condgen.tracking.address import line
from condgen.tracking.journal import OUTBOX
from condgen.tracking.provenance import PACKAGE

POLL_SECONDS = 5.0  # each delivery takes a processor from training for a moment
RETRY_SECONDS = 10.0  # after a failure
BACKLOG_SECONDS = 5.0  # for journals of other executions, once the stage has ended and waits
NICE = 19  # training comes first, and its threads wait for one another

_ahead: subprocess.Popen | None = None  # the courier of the journal that is still to come


def start_ahead() -> None:
    """Starts a courier before there is a journal, so that it imports MLflow while a stage imports PyTorch."""
    global _ahead
    try:
        _ahead = _process()
    except OSError:
        pass  # `start` tries again, and its caller says why


def start(folder: Path) -> subprocess.Popen:
    """Gives a journal its courier, which leaves by itself when all is delivered or cannot be."""
    global _ahead
    carrier, _ahead = _ahead, None
    if carrier is None or not _tell(carrier, folder):
        carrier = _process()
        _tell(carrier, folder)
    return carrier


def dismiss() -> None:
    """Sends away the courier that was started ahead: there will be no journal."""
    global _ahead
    carrier, _ahead = _ahead, None
    if carrier is not None:
        carrier.stdin.close()
        carrier.wait()


def _tell(carrier: subprocess.Popen, folder: Path) -> bool:
    """Names the journal. False: somebody killed the courier."""
    try:
        carrier.stdin.write(os.fsencode(folder.name) + b"\n")
    except BrokenPipeError:
        carrier.stdin.close()
        return False
    return True


def _process() -> subprocess.Popen:
    own = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-m", __package__, str(root() / OUTBOX)],
        # The package of the stage's own checkout; not its folder, which may be deleted.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE.parent), own]))},
        cwd=root(),
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Ctrl-C is for the stage, whose last words are still to be delivered. Not a session of its own:
        # Linux shares the processor between sessions first, and niceness would not count.
        process_group=0,
    )


class Courier:
    """Delivers one journal while it is written, and others that were left over when there is time."""

    def __init__(self, folder: Path):
        from condgen.tracking.delivery import Delivery  # MLflow, which a stage itself never imports

        self.make, self.folder, self.own = Delivery, folder, Delivery(folder, say)
        self.failing = False
        self.given_up: set[Path] = set()

    def run(self, stage_ended: threading.Event, begun: Callable[[], object] = lambda: None) -> None:
        """begun: called once, after the first attempt to tell MLflow that the stage has begun."""
        from condgen.tracking.store import FIRST, patience

        patience(*FIRST)
        journal.sweep(self.folder.parent)
        try:
            self._run(stage_ended, begun)
        except Timeout:
            pass  # the stage was quicker than this process, and somebody else took its journal

    def _run(self, stage_ended: threading.Event, begun: Callable[[], object]) -> None:
        with self.own:
            self._others(lambda folder: journal.execution(folder) == journal.execution(self.folder))
            done = self._advance(last=stage_ended.is_set())
            begun()
            while not done:
                if not self.failing and not stage_ended.is_set():
                    self._others(most=1)
                stage_ended.wait(RETRY_SECONDS if self.failing else POLL_SECONDS)
                done = self._advance(last=stage_ended.is_set())
            if not self.failing:
                self._others(seconds=BACKLOG_SECONDS)

    def _advance(self, last: bool) -> bool:
        """Delivers what there is. True: there is nothing more to be done."""
        from condgen.tracking.store import LAST, patience

        if last and self.failing:
            patience(*LAST)  # somebody waits, and not for a server that was not there before
        try:
            done = self.own.advance()
        except Exception as error:
            if last:
                say(f"MLflow does not have all of this run ({line(error)}): it is kept in {self.folder}")
                say("the next stage delivers it, or 'python -m condgen deliver'")
            elif not self.failing:
                say(f"MLflow cannot be used ({line(error)}): the run is kept in {self.folder} meanwhile")
            self.failing = True
            return last
        if self.failing:
            say("MLflow can be used again")
        self.failing = False
        if last and not done:
            time.sleep(0.1)  # the files of a killed process are closed one by one
        return done

    def _others(
        self, wanted: Callable[[Path], bool] = bool, most: int = sys.maxsize, seconds: float = 1e9
    ) -> None:
        """Delivers journals whose stages have ended, the oldest first."""
        until = time.monotonic() + seconds
        for folder in journal.waiting(self.folder.parent):
            if most == 0 or time.monotonic() > until:
                return
            if folder == self.folder or folder in self.given_up:
                continue
            try:
                if not wanted(folder) or not journal.over(folder):
                    continue
                most -= 1
                with self.make(folder, say) as other:
                    other.advance()
            except Exception:  # 'condgen deliver' says why
                self.given_up.add(folder)
                return  # the next one may want the same dead server, and a stage may wait for us


def say(text: str) -> None:
    """A line on stderr that tells where it comes from."""
    print(f"tracking: {text}", file=sys.stderr, flush=True)
