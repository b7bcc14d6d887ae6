"""Going on with a training that was killed, from its last finished epoch, to the very same result.

The state is kept at the root of the real repository (DVC deletes a stage's outs before it runs, and runs
experiments in copies), in a file whose name says what it belongs to: the same parameters, data, code and
machine, or it is not found. A checksum stands above it; a damaged file is dropped with a line.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from condgen.base import files, pipeline
from condgen.base.errors import UserError
from condgen.base.sections import Section
from condgen.training.state import State

FOLDER = "resume"
KEEP_DAYS = 30  # for a training that nobody takes up again


def recipe(
    stage: str, path: str, machine: Mapping[str, Any], *sections: Section, **values: Any
) -> dict[str, Any]:
    """All that decides what comes out of a training, as plain values.

    stage: its name in dvc.yaml, whose deps name its code. path: the data set. sections, values: the
    parameters that are used. Raises UserError where dvc.yaml does not name the stage.
    """
    return {
        "parameters": {section.section: section.model_dump() for section in sections} | values,
        "data": _sha256(Path(path).read_bytes()),
        "code": pipeline.code(pipeline.stage(stage)),
        "machine": {**machine, "capability": torch.backends.cpu.get_cpu_capability()},
    }


class Checkpoint:
    """The file that holds one training's state.

    Saving costs a copy in memory: a thread of its own writes it, and whether the disk is slow or full does
    not matter to the training.
    """

    def __init__(self, root: Path, stage: str, recipe: Mapping[str, Any]):
        self.stage = stage
        key = _sha256(json.dumps(recipe, sort_keys=True).encode())
        self.path = root / FOLDER / f"{stage}-{key[:32]}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future | None = None
        self._failed = False
        for old in self.path.parent.glob("*-*"):
            try:
                if time.time() - old.stat().st_mtime > KEEP_DAYS * 86_400:
                    old.unlink()
            except OSError:
                pass  # somebody else was quicker

    def restore(self, state: State) -> None:
        """Brings a fresh `state` to the last finished epoch that is kept, if there is one."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        checksum, _, body = content.partition(b"\n")
        if checksum != _sha256(body).encode():
            self._say(f"{self.path} is damaged and dropped: training starts anew")
            self.path.unlink(missing_ok=True)
            return
        numbers, _, tensors = body.partition(b"\n")
        state.load(load(tensors), json.loads(numbers))
        self._say(f"goes on after epoch {state.epoch}, kept in {self.path}")

    def save(self, state: State) -> None:
        """Keeps `state`. What the disk refuses is said once and stops nothing."""
        tensors = save({name: value.contiguous().cpu() for name, value in state.tensors().items()})
        self._wait()
        self._writing = self._thread.submit(self._write, json.dumps(state.numbers()).encode(), tensors)

    def remove(self) -> None:
        """The stage has succeeded."""
        self._wait()
        self.path.unlink(missing_ok=True)

    def _write(self, numbers: bytes, tensors: bytes) -> None:
        digest = hashlib.sha256(numbers + b"\n")
        digest.update(tensors)
        files.write(self.path, b"\n".join([digest.hexdigest().encode(), numbers, tensors]))

    def _wait(self) -> None:
        try:
            if self._writing is not None:
                self._writing.result()
        except UserError as error:
            if not self._failed:
                self._say(f"{error}; training goes on, but killed it would start anew")
            self._failed = True
        self._writing = None

    def _say(self, text: str) -> None:
        print(f"{self.stage}: {text}", file=sys.stderr, flush=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
