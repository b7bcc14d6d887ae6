"""Reads and writes the files under data/. A file is written whole or not at all; none is read with pickle.

No time, path or host name is written into a file, so the same content gives the same bytes.
"""

import csv
import io
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from condgen.base.errors import UserError, one_line

UNFINISHED = re.compile(r"\..+\.condgen-(\d+)@(.+)\.\w+")
OLD_SECONDS = 30 * 86_400  # an unfinished file of another machine that is older is deleted


def unfinished(name: str) -> str:
    """The prefix of a temporary file's name: hidden, with the PID and the host of the process that writes."""
    return f".{name}.condgen-{os.getpid()}@{platform.node()}."


def sweep(folder: str | Path, below: bool = False) -> None:
    """Deletes the unfinished files of killed processes in a folder; `below`: and in its subfolders."""
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
            pass  # already deleted, or no permission


def _abandoned(path: Path, pid: int, node: str) -> bool:
    from condgen.base import process  # imports psutil, which a served model may lack

    if node == platform.node():
        return not process.running_pid(pid)  # age is no sign of death: a training may take days
    return time.time() - path.stat().st_mtime > OLD_SECONDS


def write(path: str | Path, content: bytes) -> None:
    """Writes a file whole or not at all: under a temporary name in the same folder, then renames it.

    Raises UserError if the disk is full or writing is not permitted.
    """
    path = Path(path)
    try:
        _write(path, content)
    except OSError as error:
        where = f" ({error.filename})" if error.filename in map(str, path.parents) else ""
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}{where}: "
            "free disk space or allow writing, then run again"
        ) from None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path.name))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave an empty file under the new name
        # mkstemp sets mode 0600, which DVC's cache would keep; set the mode that open() gives.
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


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Raises UserError if a file is missing, unreadable or damaged."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} is missing: 'dvc repro' makes it") from None
    except Exception as error:
        # Parsers raise many types on arbitrary bytes (zipfile alone: BadZipFile, zlib.error,
        # NotImplementedError, RuntimeError, OverflowError, ...), and all of them mean a damaged file.
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        reason = one_line(error)
        raise UserError(f"{path} is damaged ({reason}): remove it and run 'dvc repro'") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads a dict from JSON. Raises UserError if the file is missing or holds something else."""
    with _reading(path):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds {type(content).__name__}, but must hold an object; remove it and run 'dvc repro'"
        )
    return content


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes named arrays as `np.savez` does, but with the same bytes on every machine.

    Uncompressed, so the bytes do not depend on the zlib version. Without the ZIP64 headers that NumPy asks
    for, which Python 3.11.2 and 3.11.7 write differently; this limits an array to 2 GiB.
    """
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, array in arrays.items():
            npy = io.BytesIO()
            np.save(npy, array, allow_pickle=False)
            entry = ZipInfo(f"{name}.npy")  # dated 1980
            entry.create_system = 3  # Unix, on every system
            archive.writestr(entry, npy.getbuffer())
    write(path, buffer.getvalue())


def read_npz(path: str | Path, *names: str) -> list[np.ndarray]:
    """The named arrays of an npz file. Raises UserError if the file or an array is missing or damaged.

    Reads only what `write_npz` writes: plain, uncompressed arrays. So no array is larger than the file, which
    is checked before memory is allocated: a zip bomb or a false shape is refused.
    """
    with _reading(path), open(path, "rb") as file, ZipFile(file) as archive:
        absent = [name for name in names if f"{name}.npy" not in archive.namelist()]
        if absent:
            raise UserError(f"{path} lacks the array {absent[0]}: remove it and run 'dvc repro'")
        size = os.fstat(file.fileno()).st_size
        return [_array(archive, name, size) for name in names]


def _array(archive: ZipFile, name: str, most: int) -> np.ndarray:
    """An array of at most `most` bytes. Raises ValueError if it is not as `write_npz` writes it."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != ZIP_STORED or entry.file_size > most:
        raise ValueError(f"{name} is compressed, or {entry.file_size} bytes in a file of {most}")
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name} is npy {version[0]}.{version[1]}, but must be 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.hasobject:
            raise ValueError(f"{name} holds pickled objects, but must hold numbers and text")
        found = entry.file_size - member.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != found:
            raise ValueError(f"{name} is declared as {dtype} {list(shape)}, but has {found} bytes")
        member.seek(0)
        return np.lib.format.read_array(member, allow_pickle=False)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows that share their keys as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue().encode())


def read_csv(path: str | Path, *columns: str) -> list[dict[str, float]]:
    """Reads rows of numbers that `write_csv` wrote. Raises UserError if one of the columns is missing."""
    with _reading(path), open(path, newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if not rows:
            raise ValueError("it has no rows")
        absent = [column for column in columns if column not in rows[0]]
        if absent:
            raise ValueError(f"it lacks the column {absent[0]}, and has {', '.join(rows[0])}")
        return rows


def write_model(folder: str | Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Writes model.safetensors (a network's state_dict) and config.json (how to build the network)."""
    from safetensors.torch import save

    folder = Path(folder)
    # safetensors sorts its keys, so the same weights give the same bytes.
    write(folder / "model.safetensors", save({k: v.detach().cpu().contiguous() for k, v in state.items()}))
    write_json(folder / "config.json", config)


def read_model(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state_dict, config) as `write_model` wrote them; the tensors are on the CPU."""
    from safetensors.torch import load

    path = Path(folder) / "model.safetensors"
    with _reading(path):
        state = load(path.read_bytes())  # checks that header and tensors lie within these bytes
    return state, read_json(Path(folder) / "config.json")
