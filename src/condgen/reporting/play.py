"""What the page draws and plays with: data/playground -> the parts of page/playground and page/game."""

import base64
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from condgen.base import files
from condgen.base.errors import UserError
from condgen.datasets.spec import Spec, Words
from condgen.evaluation.game import Game
from condgen.models import MODELS
from condgen.reporting.figures import NAMES

ACROSS = 20  # pictures in a row of the game's sheet
LEAST = {"real": 10} | dict.fromkeys(MODELS, 5)  # pictures in a game, as in page/game.js
BITS = {"float16": 16, "int8": 8}


@dataclass(frozen=True)
class Play:
    """For the templates.

    Attributes:
        about: model -> what playground.json says of it.
        programs: model -> its safetensors file, compressed by gzip, in base64; those that the page has.
        precision: what the page does to the weights, a sentence.
        spec: of the images.
        game: what page/game.js reads, plain values; None if there are too few pictures.
    """

    about: dict[str, dict[str, Any]]
    programs: dict[str, str]
    precision: str
    spec: Spec
    game: dict[str, Any] | None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.classes

    @property
    def side(self) -> int:
        return self.spec.side

    @property
    def named(self) -> bool:
        """Whether texts are names of classes, not characters."""
        return any(len(name) > 1 for name in self.classes)

    @property
    def text(self) -> str:
        """What is drawn first."""
        if self.named:
            return ", ".join(self.classes[:3])
        digits = Words(self.classes).one == "digit" and self.spec.count == 10
        return "2026-11-24" if digits else "".join(self.classes[:6])

    @property
    def flat(self) -> dict[str, bool]:
        """Model -> whether its latent space is a plane."""
        return {name: self.about[name]["latent_dim"] == 2 for name in self.programs}


def load(folder: str | Path, spec: Spec, game: Game, opinions: tuple[np.ndarray, np.ndarray]) -> Play:
    """Reads what the stage `sample` left in data/playground. Raises UserError if it is damaged.

    opinions: the classifier's, as `evaluation.game.opinions` returns them.
    """
    about = files.read_json(Path(folder, "playground.json"))
    if set(about) != set(MODELS) or not all(
        isinstance(a, dict) and ("left_out" in a or {"weights", "numbers", "latent_dim"} <= set(a))
        for a in about.values()
    ):
        raise UserError(f"{folder}/playground.json does not describe {' and '.join(MODELS)}: run 'dvc repro'")
    programs = {
        name: _program(Path(folder, f"{name}.safetensors")) for name in MODELS if "weights" in about[name]
    }
    return Play(about, programs, _precision(about), spec, _game(game, spec, *opinions))


def _program(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:  # checks that header and tensors fit the file
            file.keys()
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: 'dvc repro' makes it") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run 'dvc repro'") from None
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _precision(about: Mapping[str, Mapping[str, Any]]) -> str:
    """What the page does to the weights, in a sentence."""
    rounded = [
        f"the {NAMES[name]}'s {a['numbers'] / 1e6:.2f} million numbers are rounded to "
        f"{BITS[a['weights']]} bits (a pixel changes by another {a['mean_difference']:.2g} of 255 grey "
        f"levels on average, {a['largest_difference']} at most)"
        for name, a in about.items()
        if a.get("weights") in BITS
    ]
    if not rounded:
        return "The networks' weights are complete, 32 bits each."
    return f"To fit into this page, {', and '.join(rounded)}; measured on 10 pictures of each class."


def _game(game: Game, spec: Spec, read: np.ndarray, sure: np.ndarray) -> dict[str, Any] | None:
    if any((game.origins == origin).sum() < least for origin, least in LEAST.items()):
        return None
    return {
        "md5": game.md5,
        "side": spec.side,
        "across": ACROSS,
        "classes": list(spec.classes),
        "names": {name: NAMES[name] for name in MODELS},
        "origins": game.origins.tolist(),
        "labels": game.labels.tolist(),
        "scores": [round(float(score), 3) for score in game.scores],
        "read": read.tolist(),
        "sure": [round(float(p), 3) for p in sure],
        "sheet": _sheet(game.images),
    }


def _sheet(images: np.ndarray) -> str:
    """All pictures in one PNG, ACROSS in a row, as a data: URL."""
    n, side = len(images), images.shape[1]
    sheet = np.zeros((-(-n // ACROSS) * side, ACROSS * side, *images.shape[3:]), np.uint8)
    for i, image in enumerate(images):
        top, left = i // ACROSS * side, i % ACROSS * side
        sheet[top : top + side, left : left + side] = image
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
