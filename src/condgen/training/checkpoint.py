"""Checkpoints: a killed training resumes after its last stored epoch and ends with the same bytes.

The state is stored at the root of the real repository, because DVC deletes a stage's outs before it runs, and
runs experiments in copies. The file name is a hash of parameters, data, code and machine, so a state is found
only if all of them are the same. The file starts with a checksum; a damaged file is reported and deleted.
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
KEEP_DAYS = 30  # after which the state of an unfinished training is deleted


def recipe(
    stage: str, path: str, machine: Mapping[str, Any], *sections: Section, **values: Any
) -> dict[str, Any]:
    """Everything that determines the result of a training, as plain values.

    stage: its name in dvc.yaml, whose deps name its code. path: the data set. sections, values: the
    parameters that are used. Raises UserError if dvc.yaml has no such stage.
    """
    return {
        "parameters": {section.section: section.model_dump() for section in sections} | values,
        "data": _sha256(Path(path).read_bytes()),
        "code": pipeline.code(pipeline.stage(stage)),
        "machine": {**machine, "capability": torch.backends.cpu.get_cpu_capability()},
    }


class Checkpoint:
    """The file that holds one training's state.

    `save` copies the state in memory and a thread writes it, so a slow or full disk does not affect training.
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
                # Not its own, which it is about to read: the clock may be wrong.
                if old != self.path and time.time() - old.stat().st_mtime > KEEP_DAYS * 86_400:
                    old.unlink()
                    self._say(f"{old}, a training that was not finished in {KEEP_DAYS} days, was deleted")
            except OSError:
                pass  # another process deleted it

    def restore(self, state: State) -> None:
        """Loads the last stored epoch into a fresh `state`, if there is one."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        checksum, _, body = content.partition(b"\n")
        if checksum != _sha256(body).encode():
            self._say(f"{self.path} is damaged and was deleted: training starts from the beginning")
            self.path.unlink(missing_ok=True)
            return
        numbers, _, tensors = body.partition(b"\n")
        state.load(load(tensors), json.loads(numbers))
        self._say(f"resumes after epoch {state.epoch}, stored in {self.path}")

    def save(self, state: State) -> None:
        """Stores `state`. A disk error is reported once and does not stop training."""
        tensors = save({name: value.contiguous().cpu() for name, value in state.tensors().items()})
        self._wait()
        self._writing = self._thread.submit(self._write, json.dumps(state.numbers()).encode(), tensors)

    def remove(self) -> None:
        """Deletes the file, once the stage has succeeded."""
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
                self._say(f"{error}; training continues, but cannot be resumed if it is killed")
            self._failed = True
        self._writing = None

    def _say(self, text: str) -> None:
        print(f"{self.stage}: {text}", file=sys.stderr, flush=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
