"""A folder of pictures -> arrays. A sub-folder is a class, as in torchvision's ImageFolder."""

import os
import stat
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from condgen.base.errors import UserError, one_line
from condgen.datasets import checks, resize

# No format that runs other programs (EPS) or that holds more than pixels (PSD, PDF).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PARTS = {"train", "test"}
OTHER_PARTS = {"training", "testing", "val", "valid", "validation"}
SHOWN = 20  # unreadable files that are printed


@dataclass(frozen=True)
class Pictures:
    """The files of one part and their labels, `[n]` uint8; sorted, whatever the file system's order."""

    files: list[Path]
    y: np.ndarray

    def take(self, positions: np.ndarray) -> "Pictures":
        """These pictures, in this order."""
        return Pictures([self.files[i] for i in positions], self.y[positions])


def find(folder: Path) -> tuple[list[str], Pictures, Pictures | None]:
    """(classes, training part, test part or None) of a folder; prints how many files were ignored.

    The sub-folders are the classes, sorted by name; or they are train and test, which hold the classes.
    Raises UserError if they are neither, or if there are too few or too many classes.
    """
    names = _sub_folders(folder)
    parts = {name for name in names if name.lower() in PARTS | OTHER_PARTS}
    if len(parts) > 1 and names != PARTS:
        raise UserError(
            f"{folder} has the folders {_list(names)}, "
            "but must have one for each class, or train and test alone"
        )
    ignored: Counter[str] = Counter()
    if names == PARTS:
        classes = _classes(folder / "train", ignored)
        unknown = sorted(_sub_folders(folder / "test") - set(classes))
        if unknown:
            name = one_line(unknown[0])
            raise UserError(f"{folder}/test has the class {name}, but must have only those of train")
        train = _pictures(folder / "train", classes, ignored)
        test = _pictures(folder / "test", classes, ignored)
        _loose(folder, ignored)
        _loose(folder / "test", ignored)
        if not test.files:
            raise UserError(f"{folder}/test holds no picture: it must hold one or more, or be removed")
    else:
        classes = _classes(folder, ignored)
        train, test = _pictures(folder, classes, ignored), None
    if ignored:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(ignored.items()))
        print(f"download: {folder}: ignored {ignored.total():,} files: {kinds}", flush=True)
    return classes, train, test


def read(pictures: Pictures, side: int, channels: int) -> tuple[np.ndarray, list[str]]:
    """(pixels uint8 `[n, side, side]` or `[n, side, side, 3]`, what is wrong with each unreadable file).

    One picture at a time is in memory in its own size. All files are tried, so that all bad ones are known.
    """
    x = resize.empty(len(pictures.files), side, channels)
    bad: list[str] = []
    plain = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, path in zip(x, tqdm(pictures.files, desc="pictures", disable=None), strict=True):
            try:
                row[:] = _open(path, side, channels)
            except Exception as error:  # Pillow's plugins raise many types on arbitrary bytes
                bad.append(f"{path} cannot be read as a picture ({_reason(error)})")
            else:
                plain += bool(row.min() == row.max())
    if plain:  # what is transparent shows a white ground, on which white ink is lost
        print(f"download: {plain:,} of {len(x):,} pictures have a single colour", flush=True)
    return x, bad


def refuse(bad: list[str], total: int) -> None:
    """Raises UserError if there are unreadable files; prints the first of them."""
    if not bad:
        return
    lines = [one_line(text) for text in sorted(bad)]
    for line in lines[:SHOWN]:
        print(f"download: {line}", flush=True)
    more = f"; {len(lines) - 1:,} more of the {total:,} files cannot either" if len(lines) > 1 else ""
    raise UserError(lines[0] + more)


def _open(path: Path, side: int, channels: int) -> np.ndarray:
    size = _size(path)
    if not size:
        raise ValueError("empty")
    with Image.open(path, formats=FORMATS) as image:
        # A phone's JPEG may carry a second picture (MPO); the first is the photograph.
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise ValueError(f"{frames} frames, but must have one")
        if min(image.size) < 2:
            raise ValueError(f"{image.width} x {image.height} pixels, but must have 2 x 2 or more")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return resize.square(image, side, channels)


def _size(path: Path) -> int:
    """A file's bytes. Raises ValueError if it is a pipe or a device, which could be read forever."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a file")
    return status.st_size


def _reason(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a known format"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.errno:
        return error.strerror or type(error).__name__
    if "truncated" in text.lower() or "not enough image data" in text:
        return "truncated"
    return text[:100] or type(error).__name__


def _classes(folder: Path, ignored: Counter[str]) -> list[str]:
    """The classes, sorted by name."""
    classes = sorted(_sub_folders(folder))
    _loose(folder, ignored)
    checks.classes(classes, folder, "a sub-folder for each")
    return classes


def _sub_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}


def _loose(folder: Path, ignored: Counter[str]) -> None:
    """Counts the files that lie beside the classes' folders."""
    for path in folder.iterdir():
        if not path.is_dir():
            kind = "hidden" if path.name.startswith(".") else "outside the classes' folders"
            ignored[kind] += 1


def _pictures(folder: Path, classes: list[str], ignored: Counter[str]) -> Pictures:
    found: list[Path] = []
    y: list[int] = []
    for label, name in enumerate(classes):
        mine = _below(folder / name, ignored) if (folder / name).is_dir() else []  # a class not in test
        found += mine
        y += [label] * len(mine)
    return Pictures(found, np.array(y, np.uint8))


def _below(folder: Path, ignored: Counter[str]) -> list[Path]:
    """The picture files of a class at any depth, sorted by name; links to folders are followed, once each."""
    found: list[Path] = []
    seen = set()
    for at, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        status = os.stat(at)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder that is read already, or is above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                ignored["hidden"] += 1
            elif suffix in SUFFIXES:
                found.append(Path(at, name))
            else:
                ignored[ascii(suffix)[1:-1] or "without a suffix"] += 1
    return sorted(found, key=lambda path: path.parts)


def _raise(error: OSError) -> None:
    raise error


def _list(names: set[str]) -> str:
    shown = [one_line(name) for name in sorted(names)]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
