"""What a stage says of its run, on disk before MLflow hears of it.

The outbox is a folder at the root of the repository; a journal is a folder in it: `events.jsonl`, a line an
event, and copies of the files that the events name. It stays until MLflow has all of it. This module knows
files only, neither MLflow nor what the events mean.

A stage holds its journal's `owner.lock`, which the operating system takes back however the stage ends. So a
journal that has neither an end nor an owner is that of a stage that was killed.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from condgen.base import files

EVENTS = "events.jsonl"
OUTBOX = "outbox"
OWNER = "owner.lock"
START = "start"  # the first event
ENDED = "ended-"  # and the status
Event = dict[str, Any]
"""{"at": milliseconds, "do": what happened, ...}, plain values."""


class Taken(Exception):
    """Another process delivers a journal, or has delivered it."""


class Journal:
    """A journal that is being written, by the stage that owns it. Methods may raise OSError."""

    def __init__(self, outbox: Path, name: str, **start: Any):
        """start: the content of the first event."""
        # Sorted by name, journals are in the order in which they began.
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{name}-{uuid.uuid4().hex[:8]}"
        self.kept = 0
        # Hidden until it has an owner and a start: it would look like the journal of a killed stage.
        self.folder = outbox / f"{files.unfinished(name)}new"
        self.folder.mkdir(parents=True)
        self.owner = FileLock(self.folder / OWNER, timeout=0)
        self.owner.acquire()
        self.write(START, **start)
        self.folder = self.folder.rename(outbox / name)

    def write(self, do: str, **content: Any) -> None:
        """Appends an event."""
        line = json.dumps({"at": int(time.time() * 1000), "do": do} | content)
        # Only the first event makes the file: if outbox/ is deleted, no journal without a start must appear.
        with open(self.folder / EVENTS, "x" if do == START else "r+", encoding="utf-8") as file:
            # A new line first: the disk may have been full in the middle of the last event.
            file.write(f"\n{line}\n" if file.seek(0, os.SEEK_END) else f"{line}\n")

    def deleted(self) -> bool:
        """Whether someone has deleted it."""
        return not (self.folder / EVENTS).exists()

    def end(self, status: str, error: str | None) -> None:
        """The last event; where there is no room for it, the name of an empty file. Nothing may follow."""
        try:
            self.write("end", status=status, error=error)
        except OSError:
            (self.folder / f"{ENDED}{status}").touch()
            raise
        finally:
            self.owner.release()

    def keep(self, path: Path, leave_out: Sequence[str] = ()) -> str:
        """Copies a file or a folder, which may change or be deleted before MLflow takes it.

        Returns its name in the journal. Compiled code is left out, and
        what has one of the given names.
        """
        name = self.new(path.name)
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", *leave_out)
            shutil.copytree(path, self.folder / name, ignore=ignored)
        else:
            shutil.copyfile(path, self.folder / name)
        return name

    def new(self, name: str) -> str:
        """A place in the journal for a file of this name."""
        self.kept += 1
        (self.folder / str(self.kept)).mkdir()
        return f"{self.kept}/{name}"


def orphaned(folder: Path) -> bool:
    """Whether no process writes this journal any more."""
    if not folder.is_dir():  # a lock would make it again
        return False
    try:
        with FileLock(folder / OWNER, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def events(folder: Path) -> list[Event]:
    """All events so far; the last one is the end, if there is nothing more to come.

    A line that is not whole is none: it is still being written, or the machine lost power. A journal of a
    killed stage ends with KILLED when it was last written to. One without a start, which says where it goes,
    has no events.
    """
    orphan = orphaned(folder)  # asked first: what its owner wrote last is then in the file
    found: list[Event] = []
    with suppress(OSError):  # it was delivered meanwhile
        for line in (folder / EVENTS).read_bytes().split(b"\n")[:-1]:
            with suppress(ValueError):
                found.append(json.loads(line))
    if not found or found[0]["do"] != START:
        return []
    if orphan and found[-1]["do"] != "end":
        status = next((p.name.removeprefix(ENDED) for p in folder.glob(f"{ENDED}*")), "KILLED")
        at = int((folder / EVENTS).stat().st_mtime * 1000)
        error = "the process was killed" if status == "KILLED" else None
        found.append({"at": at, "do": "end", "status": status, "error": error})
    return found


def over(folder: Path) -> bool:
    """Whether nothing more will be written: the stage has ended, or is gone."""
    return any(event["do"] == "end" for event in events(folder))


def execution(folder: Path) -> str | None:
    """The pipeline execution that a journal belongs to."""
    return next((event["tags"]["execution"] for event in events(folder)), None)


def waiting(outbox: Path) -> list[Path]:
    """Journals that MLflow does not have all of, the oldest first."""
    return sorted(path for path in outbox.glob("[!.]*") if path.is_dir())


def tidy(outbox: Path, say: Callable[[str], None]) -> None:
    """Deletes what killed processes left of journals, and sets aside those without a start, with a line."""
    files.sweep(outbox)
    for folder in waiting(outbox):
        file = folder / EVENTS
        if not events(folder) and (os.access(file, os.R_OK) or not file.exists()):
            with suppress(OSError):  # another process was quicker
                hidden = folder.rename(folder.with_name(f".{folder.name}.without-start"))
                say(f"{hidden} cannot be delivered: its start is missing (was outbox/ deleted during a run?)")


def remove(folder: Path) -> None:
    """Deletes a journal, under another name first: one that is half deleted must not look like a whole one.

    `files.sweep` deletes what a process that is killed meanwhile leaves.
    """
    gone = folder.rename(folder.with_name(f"{files.unfinished(folder.name)}gone"))
    shutil.rmtree(gone, ignore_errors=True)
