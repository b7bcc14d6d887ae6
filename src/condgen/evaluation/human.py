"""People as discriminators: the lines that the page's game gives, pooled.

A line is JSON: the number of the game, an id of its own, the MD5 of the pictures (data/playground/game.npz),
and for real pictures and those of each model how many were shown (n), how many the player took for real
(taken), how many D took for real (d), and of how many the classifier read the class asked for (read).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from condgen.base import intervals
from condgen.base.errors import UserError, one_line
from condgen.models import MODELS

LONGEST_LINE = 2000  # characters
TITLES = {"real": "real pictures"} | {name: f"drawn by the {model.title}" for name, model in MODELS.items()}


class Counts(BaseModel):
    """Of one kind of pictures in one game."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    n: Annotated[int, Field(ge=1, le=1000)]
    taken: Annotated[int, Field(ge=0)]
    d: Annotated[int, Field(ge=0)]
    read: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _fits(self) -> "Counts":
        if max(self.taken, self.d, self.read) > self.n:
            raise ValueError(f"counts more than the {self.n} pictures that were shown")
        return self


class Answer(BaseModel):
    """A line."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    game: Annotated[int, Field(ge=0)]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    pictures: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    real: Counts
    cvae: Counts
    cgan: Counts


def read(paths: Sequence[Path]) -> tuple[list[Answer], list[str]]:
    """(the answers in the files, a line for each bad one: file, number of the line, what is wrong).

    Empty lines are skipped. The same game twice, by its id, counts once. Raises UserError if a file cannot be
    read.
    """
    found: dict[str, tuple[Answer, str]] = {}
    bad = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}"
            ) from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                answer = _answer(line)
            except ValueError as error:
                bad.append(f"{where}: {one_line(error)}")
                continue
            if answer.id in found:
                bad.append(f"{where}: the same game as {found[answer.id][1]}")
            else:
                found[answer.id] = answer, where
    return [answer for answer, _ in found.values()], bad


def _answer(line: str) -> Answer:
    """Raises ValueError with what is wrong."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{len(line)} characters, but a result has at most {LONGEST_LINE}")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("no JSON: copy the whole line that the page shows after a game") from None
    try:
        return Answer.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{key}: {said}" if key else "not the result of a game") from None


def table(answers: Sequence[Answer]) -> str:
    """How often pictures were taken for real, by people and by D: a table for each set of pictures.

    Intervals are Wilson's, of independent guesses; people differ, so they are too narrow where few people
    played often.
    """
    by_pictures: dict[str, list[Answer]] = {}
    for answer in answers:
        by_pictures.setdefault(answer.pictures, []).append(answer)
    return "\n\n".join(_table(pictures, games) for pictures, games in by_pictures.items())


def _table(pictures: str, games: Sequence[Answer]) -> str:
    rows = [("taken for real, %", "guesses", "by people", "", "by D", "", "class read")]
    for origin, title in TITLES.items():
        counts: list[Counts] = [getattr(game, origin) for game in games]
        n = sum(c.n for c in counts)
        people, machine = (sum(getattr(c, key) for c in counts) for key in ("taken", "d"))
        rows.append((title, str(n), *_share(people, n), *_share(machine, n),
                     f"{100 * sum(c.read for c in counts) / n:.1f}"))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    head = f"{len(games)} game{'s' if len(games) > 1 else ''} on the pictures {pictures}"
    return "\n".join([head, *lines])


def _share(k: int, n: int) -> tuple[str, str]:
    value = intervals.share(k / n, n)
    if value.low is None or value.high is None:
        return f"{100 * value.value:.1f}", ""
    return f"{100 * value.value:.1f}", f"[{100 * value.low:.1f}, {100 * value.high:.1f}]"
