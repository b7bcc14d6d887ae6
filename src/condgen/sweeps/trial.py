"""One trial of a sweep: a DVC experiment, run in a fresh clone of the commit that the sweep started from.

What is at home already is not made again: a finished trial is only read, and a stage with the same inputs
comes from DVC's run cache. The commit goes home last, so an experiment that is there is whole.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from filelock import FileLock

from condgen.base.errors import UserError, without_secrets
from condgen.base.params import as_text
from condgen.sweeps.plan import RESULTS, Failed
from condgen.tracking import journal

T = TypeVar("T")
DAY = 86400  # seconds
STATES_DAYS = 7  # after which the states of a cluster's trial that nobody went on with are deleted
OUTSIDE = re.compile(r"exited with (-9|137)\b")  # DVC says so of a stage that the system killed, for memory
RESUME = "resume"  # training.checkpoint.FOLDER, which is not imported because it needs PyTorch
PATIENCE = 15 * 60  # seconds that MLflow, the DVC remote and git may be down
SILENT_SECONDS = 300  # after which a git command that says nothing is ended
STOP_SECONDS = 60  # that a stage which is told to stop has for the end of its run
ATTEMPT_SECONDS = 10  # between two attempts


@dataclass(frozen=True)
class Home:
    """Where trials come from and their results go: plain values, which Ray sends to other machines.

    Attributes:
        sweep: its name.
        git: a repository's path or address, where the commit is and the experiments go.
        commit: 40 hexadecimal digits.
        cache: DVC's cache if all trials run on this machine; None: they pull from and push to the DVC remote.
        folder: for the trials' clones and logs if they run on this machine; None: where Ray puts them.
        environment: variables that the stages get: where MLflow is, without a login.

    On a cluster DVC's cache is each machine's own, so a file is pulled once to each.
    """

    sweep: str
    git: str
    commit: str
    cache: str | None
    folder: str | None
    environment: dict[str, str] = field(default_factory=dict)

    def finished(self, name: str) -> str | None:
        """A finished trial's reference, or None. Raises UserError if git cannot be reached."""
        ref = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{name}"
        return ref if git("ls-remote", self.git, ref) else None


class Trial:
    """A trial that is running, or that was finished before.

    name: of its experiment. folder: of this trial alone; at its end log.txt is left there.

    Attributes:
        took: command, such as "dvc push" -> seconds that it took, waiting for servers included. The stages
            are "dvc exp run", which begins and ends in other calls.
    """

    def __init__(self, home: Home, name: str, values: Mapping[str, Any], folder: Path):
        self.home, self.name, self.values = home, name, values
        self.clone, self.log, self.stopped = folder / "clone", folder / "log.txt", folder / "stopped.txt"
        self.states = folder.resolve() / RESUME if home.folder else states(name)
        self.seen: dict[str, int] = {}
        self.took: dict[str, float] = {}
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        # A search may choose the same values twice: the second waits, and finds the first's experiment.
        self.lock = FileLock(folder / "lock", thread_local=False)
        self.lock.acquire()
        self._clear()
        self.stopped.unlink(missing_ok=True)
        patience = 0 if home.cache else PATIENCE
        self.ref = patiently(lambda: home.finished(name), patience)
        if self.ref is None:
            with self._timed(["git", "clone"]):
                patiently(self._clone, patience)
            self._keep_states()
            self._begin()

    def _clear(self) -> None:
        """Ends what an attempt that was killed left running, and keeps what its stages said."""
        if self.clone.exists():
            for process in psutil.process_iter():
                if _inside(process, self.clone):
                    _kill(process)
            self._deliver()
            shutil.rmtree(self.clone)

    def _clone(self) -> None:
        shutil.rmtree(self.clone, ignore_errors=True)
        git("clone", "--quiet", "--no-checkout", self.home.git, str(self.clone))
        git("checkout", "--quiet", "--detach", self.home.commit, cwd=self.clone)

    def _keep_states(self) -> None:
        """Trainings store their epochs outside the clone, for the next attempt if this one dies."""
        self.states.mkdir(parents=True, exist_ok=True)
        os.utime(self.states)  # also where a sweep is resumed after weeks
        if not self.home.folder:
            for other in self.states.parent.iterdir():  # of trials that ended on another machine
                with suppress(OSError):  # another machine was quicker
                    if time.time() - other.stat().st_mtime > STATES_DAYS * DAY:
                        shutil.rmtree(other, ignore_errors=True)
        (self.clone / RESUME).symlink_to(self.states)
        with open(self.clone / ".git/info/exclude", "a", encoding="utf-8") as file:
            file.write(f"/{RESUME}\n")  # .gitignore names the folder, and a link is none

    def _begin(self) -> None:
        cache = self.home.cache or str(machines_cache())
        self._call(["dvc", "cache", "dir", "--local", cache])
        if self.home.cache:  # one's own images, too
            words = ["dvc", "checkout", "--quiet", "--allow-missing"]
            self._call(words)
        else:  # all at once, so that the stages need no remote
            self._persist(["dvc", "pull", "--quiet", "--allow-missing"])
        run = ["dvc", "exp", "run", "--name", self.name]
        run += [
            word for key, value in self.values.items() for word in ("--set-param", f"{key}={as_text(value)}")
        ]
        with open(self.log, "ab") as log:
            self.begun = time.monotonic()
            self.process = subprocess.Popen(
                run, cwd=self.clone, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    @property
    def environment(self) -> dict[str, str]:
        """Of DVC and the stages: `python` must be this one, and the package the clone's."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        # DVC commits the experiment, and a machine of a cluster may have no name of its own for that.
        author = {f"GIT_{who}_NAME": "condgen sweep" for who in ("AUTHOR", "COMMITTER")}
        author |= {f"GIT_{who}_EMAIL": "condgen@localhost" for who in ("AUTHOR", "COMMITTER")}
        own = {
            "PATH": path,
            "PYTHONPATH": str(self.clone / "src"),
            "CONDGEN_SWEEP": self.home.sweep,
            "CONDGEN_STOPPED": str(self.stopped),
        }
        return {**author, **os.environ, **self.home.environment, **own}

    def running(self) -> bool:
        """Whether the experiment is still being run."""
        return self.process is not None and self.process.poll() is None

    def epochs(self, number: str) -> Iterator[tuple[int, float]]:
        """(epoch, value) of a stage's number, "train_cvae.val_loss", as far as they are new."""
        stage, _, key = number.partition(".")
        for folder in journal.waiting(self.clone / journal.OUTBOX):
            events = journal.events(folder)
            if not events or events[0].get("stage") != stage:
                continue
            for event in events:
                for name, value, step in event.get("values", []) if event["do"] == "metrics" else []:
                    if name == key and step > self.seen.get(number, 0):
                        self.seen[number] = step
                        yield step, value

    def stop(self, why: str) -> None:
        """Ends the stage that runs by SIGTERM; its run in MLflow says why. The results are not kept.

        Its epochs are, for a sweep that goes on with it.
        """
        if self.process is not None and self.process.poll() is None:
            self.stopped.write_text(why, encoding="utf-8")
            dvc = psutil.Process(self.process.pid)
            found = dvc.children(recursive=True)
            for process in found:
                if any(word.startswith("stages/") for word in _words(process)):
                    process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for process in [*found, dvc]:
                    _kill(process)
        if self.clone.exists():
            self._deliver()
            shutil.rmtree(self.clone, ignore_errors=True)
        self.lock.release()

    def finish(self) -> dict[str, Any]:
        """Sends all results home; returns those of evaluate.json.

        Raises Failed if a stage failed, and UserError if something outside the trial did.
        """
        if self.ref is not None:
            return self._read(self.ref)
        assert self.process is not None, "begun or finished before"
        status = self.process.wait()
        self.took["dvc exp run"] = time.monotonic() - self.begun
        if status:
            said = last_line(self.log)
            killed = status < 0 or OUTSIDE.search(said)  # DVC itself, or a stage
            kind = UserError if killed else Failed
            raise kind(f"{self.name} failed: {said} (all of it is in {self.log})")
        results = json.loads((self.clone / RESULTS).read_text(encoding="utf-8"))
        self._deliver()
        if not self.home.cache:
            self._persist(["dvc", "push", "--quiet"])
        words = ["dvc", "exp", "push", "--no-cache", self.home.git, self.name]
        self._persist(words, unless=lambda: self.home.finished(self.name), seconds=SILENT_SECONDS)
        # DVC ends well, too, where it pushes nothing because another attempt was first.
        if patiently(lambda: self.home.finished(self.name)) is None:
            raise UserError(f"{self.name} is not on {self.home.git} after 'dvc exp push'")
        shutil.rmtree(self.clone)
        shutil.rmtree(self.states, ignore_errors=True)
        return results

    def _deliver(self) -> None:
        """What MLflow could not take while the stages ran; it waits where a courier still delivers."""
        outbox = self.clone / journal.OUTBOX

        def rest() -> None:
            if journal.waiting(outbox):
                self._call([sys.executable, "-m", "condgen", "deliver"])
            if journal.waiting(outbox):
                raise UserError(f"MLflow does not have all of {self.name}")

        patiently(rest)

    def _call(self, words: list[str]) -> None:
        with self._timed(words):
            call(words, self.clone, self.log, self.environment)

    def _persist(self, words: list[str], unless: Any = None, seconds: float | None = None) -> None:
        with self._timed(words):
            persist(words, self.clone, self.log, self.environment, unless, seconds)

    @contextmanager
    def _timed(self, words: list[str]) -> Iterator[None]:
        start = time.monotonic()
        yield
        name = " ".join(itertools.takewhile(str.isalpha, words)) or "condgen deliver"
        self.took[name] = self.took.get(name, 0.0) + time.monotonic() - start

    def _read(self, ref: str) -> dict[str, Any]:
        git("init", "--quiet", str(self.clone))
        words = ["fetch", "--quiet", "--depth", "1", self.home.git, ref]
        patiently(lambda: git(*words, cwd=self.clone), 0 if self.home.cache else PATIENCE)
        results = json.loads(git("show", f"FETCH_HEAD:{RESULTS}", cwd=self.clone))
        shutil.rmtree(self.clone)
        return results


def git(*words: str, cwd: Path | None = None) -> str:
    """What a git command prints. Raises UserError with git's last line."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=SILENT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"git {words[0]}: no answer within {SILENT_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"git {words[0]}: {said[-1]}")
    return done.stdout.strip()


def call(
    words: list[str], cwd: Path, log: Path, environment: Mapping[str, str], seconds: float | None = None
) -> None:
    """Runs a command; its output goes to the log. Raises UserError if it fails, or takes so many seconds."""
    with open(log, "ab") as file:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        try:
            done = subprocess.run(words, cwd=cwd, env=environment, check=False, timeout=seconds, **options)
        except subprocess.TimeoutExpired:
            raise UserError(f"'{' '.join(words[:3])}': no answer within {seconds} s") from None
    if done.returncode:
        raise UserError(f"'{' '.join(words[:3])}' failed: {last_line(log)} (all of it is in {log})")


def persist(
    words: list[str],
    cwd: Path,
    log: Path,
    environment: Mapping[str, str],
    unless: Any = None,
    seconds: float | None = None,
) -> None:
    """Runs a command until it works, for at most PATIENCE seconds: a server may be down for a while.

    unless: whether it is needless by now, because another attempt of the trial was first. seconds: that one
    attempt may take; DVC waits for ever for a git server whose machine lost its power.
    """

    def attempt() -> None:
        try:
            call(words, cwd, log, environment, seconds)
        except UserError:
            if unless is None or not unless():
                raise

    patiently(attempt)


def patiently(do: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `do` returns; it is tried again for so long while it raises UserError."""
    until = time.monotonic() + seconds
    while True:
        try:
            return do()
        except UserError:
            if time.monotonic() >= until:
                raise
        time.sleep(ATTEMPT_SECONDS)


def machines_cache() -> Path:
    """DVC's cache for all trials of a cluster on this machine; it may be deleted while none runs."""
    return _machines() / "dvc"


def states(trial: str) -> Path:
    """Where a cluster's trial stores its trainings' epochs, for its next attempt.

    Below CONDGEN_STATES, a folder that all machines share, so that another machine goes on; without it, on
    this machine.
    """
    shared = os.environ.get("CONDGEN_STATES")
    return (Path(shared).resolve() if shared else _machines() / "states") / trial


def _machines() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "condgen")


def last_line(log: Path) -> str:
    """The last line of a log that says something, without logins."""
    lines = [line for line in re.split(r"[\r\n]+", log.read_text(errors="replace")) if line.strip()]
    return without_secrets(lines[-1].strip())[:300] if lines else "no message"


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _inside(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        pass
