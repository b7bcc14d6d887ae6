"""The files under data/: each is written whole or not at all, none is read through pickle.

Nothing here writes a time, a path or a name of a machine, so the same content gives the same bytes.
"""

import csv
import io
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from condgen.errors import UserError

UNFINISHED = re.compile(r"\..+\.condgen-(\d+)@(.+)\.\w+")
OLD_SECONDS = 3600  # after which what is unfinished is nobody's, whoever began it


def unfinished(name: str) -> str:
    """How the name of what is still being written begins: hidden, and with the process that writes it."""
    return f".{name}.condgen-{os.getpid()}@{platform.node()}."


def sweep(folder: str | Path, below: bool = False) -> None:
    """Throws away what killed processes left unfinished in a folder, and in all folders below it."""
    for path in list(Path(folder).rglob(".*") if below else Path(folder).glob(".*")):
        found = UNFINISHED.fullmatch(path.name)
        try:
            if found is None or not _abandoned(path, int(found[1]), found[2]):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except OSError:
            pass  # gone by now, or not ours


def _abandoned(path: Path, pid: int, node: str) -> bool:
    import psutil  # not wherever a served model runs

    gone = node == platform.node() and not psutil.pid_exists(pid)
    return gone or time.time() - path.stat().st_mtime > OLD_SECONDS


def write(path: str | Path, content: bytes) -> None:
    """Writes a file whole or not at all: a temporary name in the same folder, then a rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path.name))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        # mkstemp's 0600 would follow the file into DVC's cache; give it what open() would have.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes a dict of plain values as indented JSON. Raises ValueError on NaN and infinity."""
    write(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads a dict from JSON. Raises UserError where the file is missing or is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}: remove it and run 'dvc repro'") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, not an object")
    return content


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes named arrays. Uncompressed: the bytes then do not depend on the zlib at hand."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write(path, buffer.getvalue())


def read_npz(path: str | Path, *names: str) -> list[np.ndarray]:
    """The named arrays of an npz file. Raises UserError where the file or an array is missing."""
    try:
        # Opened here, because np.load leaves a file open that turns out to be no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            absent = [name for name in names if name not in archive]
            if absent:
                raise UserError(f"{path} lacks the array {absent[0]}: remove it and run 'dvc repro'")
            return [archive[name] for name in names]
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, OSError, EOFError, KeyError, BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run 'dvc repro'") from None


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows that share their keys as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue().encode())


def read_csv(path: str | Path) -> list[dict[str, float]]:
    """Reads rows of numbers that `write_csv` wrote."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run 'dvc repro'") from None


def write_model(folder: str | Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Writes model.safetensors (a network's state_dict) and config.json (how to build the network)."""
    from safetensors.torch import save

    folder = Path(folder)
    # safetensors orders its keys itself, so the same weights are the same bytes.
    write(folder / "model.safetensors", save({k: v.detach().cpu().contiguous() for k, v in state.items()}))
    write_json(folder / "config.json", config)


def read_model(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state_dict, config) as `write_model` wrote them; the tensors are on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder) / "model.safetensors"
    try:
        state = load(path.read_bytes())
    except FileNotFoundError:
        raise _missing(path) from None
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run 'dvc repro'") from None
    return state, read_json(Path(folder) / "config.json")


def _missing(path: str | Path) -> UserError:
    return UserError(f"{path} is missing: 'dvc repro' makes it")
