"""What every data set must fulfil, wherever it comes from."""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from condgen.base.errors import UserError


def classes(names: list[str], where: Path, how: str) -> None:
    """Raises UserError unless there are 2 to 256 classes, each with a name that a folder can have, too."""
    if not 2 <= len(names) <= 256:
        raise UserError(f"{where} holds {len(names)} classes, but must hold 2 to 256: {how}")
    for name in names:
        # Controls, line ends, and what is not UTF-8 in a file's name.
        if not name.strip() or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
            raise UserError(f"{where} has the class {name!a}, but a class's name must be one line of text")
        if "/" in name or "\\" in name or name.startswith(".") or len(name) > 100:
            raise UserError(
                f"{where} has the class {name!a}, but a class's name must be at most 100 characters without "
                "slashes, and not begin with a dot: it names folders, too"
            )
        if any(len(other) > 1 for other in names) and ("," in name or name != name.strip()):
            raise UserError(
                f"{where} has the class {name!a}, but a class's name must have no comma, and no space at its "
                "ends: what is to be drawn is typed as names with commas between them"
            )
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"{where} has the class {twice} twice, but each class must have its own name")


def counts(y: np.ndarray, names: list[str], where: Path) -> None:
    """Raises UserError unless every class has a training image and all together have 10."""
    found = np.bincount(y, minlength=len(names))
    absent = [name for name, count in zip(names, found, strict=True) if not count]
    if absent:
        more = f", nor have {len(absent) - 1} more classes" if len(absent) > 1 else ""
        raise UserError(
            f"{where}: the class {absent[0]} has no picture to train on{more}: every class needs one or more"
        )
    if len(y) < 10:
        raise UserError(f"{where} holds {len(y)} pictures to train on, but must hold 10 or more")
