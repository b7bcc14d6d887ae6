"""One's own npz file of images: labels at once, images one by one, so that a file may be larger than memory.

numpy.load reads an array whole, and `files.read_npz` only what this project wrote.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

from condgen.base.errors import UserError, one_line
from condgen.datasets import checks

SMALLEST, LARGEST = 8, 1024  # pixels along a side
MOST_BYTES = 2**28  # of the labels
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def labels(path: Path) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """(classes, y_train, y_test or None), the labels uint8 `[n]`. Raises UserError if they do not fit.

    Without the array `classes`, a class's name is its number.
    """
    with _reading(path), ZipFile(path) as archive:
        held = {name.removesuffix(".npy") for name in archive.namelist()}
    for name in ("x_train", "y_train"):
        if name not in held:
            raise UserError(f"{path} lacks the array {name}: it must hold x_train and y_train")
    if ("x_test" in held) != ("y_test" in held):
        raise UserError(f"{path} must hold both x_test and y_test, or neither")
    parts = [_labels(path, name) for name in ("y_train", "y_test") if name in held]
    if "classes" in held:
        names = _whole(path, "classes")
        if names.dtype.kind != "U" or names.ndim != 1:
            raise UserError(
                f"{path}: classes is {names.dtype} {list(names.shape)}, but must be text [classes], "
                "a name for each label"
            )
        classes = names.tolist()
    else:
        classes = [str(label) for label in range(max(int(y.max()) for y in parts) + 1)]
    checks.classes(classes, path, "a label for each")
    for name, y in zip(("y_train", "y_test"), parts, strict=False):
        if y.max() >= len(classes):
            raise UserError(f"{path}: {name} holds {y.max()}, but there are {len(classes)} classes")
    return classes, parts[0], parts[1] if len(parts) > 1 else None


def images(path: Path, name: str, n: int) -> Iterator[Image.Image]:
    """The `n` images of the array `name`, one by one. Raises UserError if it is something else."""
    with _member(path, name) as (member, shape, fortran, dtype):
        sides = shape[1:3]
        known = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
        fits = known and shape[0] == n and all(SMALLEST <= side <= LARGEST for side in sides)
        if dtype != np.uint8 or not fits:
            raise UserError(
                f"{path}: {name} is {dtype} {list(shape)}, but must be uint8 [{n}, h, w] or [{n}, h, w, 3], "
                f"an image for each label, {SMALLEST} to {LARGEST} pixels along each side"
            )
        if fortran:
            raise UserError(
                f"{path}: {name} is in Fortran's order, but must be in C's (np.ascontiguousarray)"
            )
        for _ in range(n):
            pixels = member.read(math.prod(shape[1:]))
            yield Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(shape[1:]))
        if member.read(1):
            raise ValueError(f"{name} is longer than declared")


def _labels(path: Path, name: str) -> np.ndarray:
    y = _whole(path, name)
    if y.dtype.kind not in "iu" or y.ndim != 1 or not len(y):
        raise UserError(
            f"{path}: {name} is {y.dtype} {list(y.shape)}, but must be uint8 [n], a label for each image"
        )
    if y.min() < 0 or y.max() > 255:
        raise UserError(f"{path}: {name} holds {y.min()} to {y.max()}, but must hold labels from 0 to 255")
    return y.astype(np.uint8)


def _whole(path: Path, name: str) -> np.ndarray:
    """A small array."""
    with _member(path, name) as (member, shape, _, dtype):
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size > MOST_BYTES:
            raise ValueError(f"{name} is {dtype} {list(shape)}")
        return np.frombuffer(member.read(size), dtype).reshape(shape)


@contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype[Any]]]:
    """An array's bytes and its header."""
    with _reading(path), ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        shape, fortran, dtype = HEADERS[np.lib.format.read_magic(member)](member)
        yield member, shape, fortran, dtype


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (UserError, MemoryError):
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # as files.read_npz: parsers raise many types on arbitrary bytes
        raise UserError(f"{path} is damaged ({one_line(error, 200)}): write it again") from None
