"""The process beside a stage that delivers its journal to MLflow.

A separate process, so that neither MLflow's import nor a slow or dead server takes time from training.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from condgen.base.errors import one_line, without_secrets
from condgen.base.pipeline import root
from condgen.tracking import journal
from condgen.tracking.provenance import PACKAGE

POLL_SECONDS = 5.0  # each delivery takes a processor from training for a moment
RETRY_SECONDS = 10.0  # after a failure
BACKLOG_SECONDS = 5.0  # for what other stages left, while a stage that has ended waits
AT_ONCE = 12  # looks at the machine that are delivered together: each delivery takes some milliseconds


def start(folder: Path) -> subprocess.Popen:
    """Starts the courier of a journal. It ends after the stage, once all is delivered or MLflow fails."""
    own = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-m", __package__, str(folder)],
        # The package of the stage's own checkout; the working directory is one that stays.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE.parent), own]))},
        cwd=root(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C must not reach it: the stage's last events are still to be delivered
    )


class Usage:
    """What a training takes of the machine, looked at from outside, so that it costs the training nothing.

    MLflow shows metrics that begin with "system/" on a page of their own.
    """

    def __init__(self, pid: int):
        self.seen: list[tuple[str, float, int, int]] = []  # metric, value, milliseconds, step
        self.looks = 0
        self.process = psutil.Process(pid)
        self.process.cpu_percent()  # counts from here
        psutil.cpu_percent()

    def look(self) -> None:
        """Percent of one core and megabytes of the stage, and percent of all cores of the machine."""
        at = int(time.time() * 1000)
        with suppress(psutil.Error), self.process.oneshot():  # it may have ended
            values = {
                "system/stage_cpu_percent_of_a_core": self.process.cpu_percent(),
                "system/stage_memory_megabytes": self.process.memory_info().rss / 1e6,
                "system/machine_cpu_percent": psutil.cpu_percent(),
            }
            self.seen += [(name, value, at, self.looks) for name, value in values.items()]
            self.looks += 1

    def take(self) -> list[tuple[str, float, int, int]]:
        """What was seen since the last call."""
        taken, self.seen = self.seen, []
        return taken


def usage_of(folder: Path, pid: int) -> Usage | None:
    """Looks at the stage of a journal, if it is a training. MLflow's own switch turns that off."""
    start = next(iter(journal.events(folder)), {})
    wanted = os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() not in ("0", "false")
    if not (wanted and start.get("stage", "").startswith("train_")):
        return None
    try:
        return Usage(pid)
    except psutil.Error:
        return None  # it has ended already


class Courier:
    """Delivers a stage's journal while it is written, and those that earlier stages left."""

    def __init__(self, folder: Path, usage: Usage | None = None):
        """usage: looks at the stage each time that its journal is."""
        from condgen.tracking.delivery import Delivery  # imports MLflow, which a stage never does

        self.delivery, self.folder, self.usage = Delivery, folder, usage
        self.failing = False
        self.given_up = {folder}

    def run(self, stage_ended: Callable[[float], bool]) -> None:
        """Returns when all is delivered, or when MLflow fails after the stage has ended.

        stage_ended: waits for that, so many seconds at most, and says whether it has.
        """
        journal.tidy(self.folder.parent, say)
        try:
            with self.delivery(self.folder, say) as own:
                while not self._round(own.advance, stage_ended(0)):
                    over = stage_ended(RETRY_SECONDS if self.failing else POLL_SECONDS)
                    if self.usage:
                        self.usage.look()
                        if over or len(self.usage.seen) >= 3 * AT_ONCE:
                            own.usage += self.usage.take()
        except journal.Taken:
            pass

    def _round(self, advance, last: bool) -> bool:
        """Delivers what there is. True: there is nothing more to do."""
        self._deliver_others(BACKLOG_SECONDS if last else 0)
        try:
            done = advance()
        except Exception as error:
            if not self.failing:
                say(f"MLflow cannot be used: {one_line(error)}")
            self.failing = True
            return last
        if self.failing:
            say("MLflow can be used again")
            self.failing, self.given_up = False, {self.folder}
        if last and not done:
            time.sleep(0.1)  # the operating system has not yet released the lock of a killed stage
        return done

    def _deliver_others(self, seconds: float) -> None:
        """Delivers journals whose stage has ended, until one fails: all of this pipeline execution, whose
        runs its own may name, then at least one of others, the oldest first, for as long as there is time.

        One that fails is given up until MLflow can be used again: its own server may be dead for good.
        """
        until, mine = time.monotonic() + seconds, journal.execution(self.folder)
        waiting = [f for f in journal.waiting(self.folder.parent) if f not in self.given_up]
        for foreign, folder in sorted((journal.execution(f) != mine, f) for f in waiting if journal.over(f)):
            try:
                with self.delivery(folder, say) as other:
                    done = other.advance()
            except Exception:  # 'condgen deliver' says why
                self.given_up.add(folder)
                return
            if not done or (foreign and time.monotonic() >= until):
                return


def say(text: str) -> None:
    """Prints a line on stderr."""
    print(f"tracking: {without_secrets(text)}", file=sys.stderr, flush=True)
