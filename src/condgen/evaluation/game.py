"""The pictures of the page's game, and what the classifier says of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from condgen.base import files
from condgen.base.errors import UserError
from condgen.datasets.data import AGAIN
from condgen.datasets.spec import Spec
from condgen.models import MODELS
from condgen.models.classifier import Classifier, classify


@dataclass(frozen=True)
class Game:
    """data/playground/game.npz.

    Attributes:
        images: uint8 `[n, ...]`, real ones and samples of each model.
        labels: `[n]`, what they show, or what a model was asked for.
        origins: `[n]`, "real" or the model's name.
        scores: `[n]`, of the CGAN's discriminator: above 0 it takes a picture for real.
        md5: of the file, which names the pictures.
    """

    images: np.ndarray
    labels: np.ndarray
    origins: np.ndarray
    scores: np.ndarray
    md5: str


def load(path: str | Path, spec: Spec) -> Game:
    """Reads the file. Raises UserError if it does not hold such pictures."""
    names = ("images", "labels", "origins", "scores")
    images, labels, origins, scores = found = files.read_npz(path, *names)
    n = len(images) if images.ndim else 0
    expected = [("uint8", (n, *spec.shape)), ("uint8", (n,)), ("<U16", (n,)), ("float32", (n,))]
    for name, array, (dtype, shape) in zip(names, found, expected, strict=True):
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            raise UserError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}, but must be {dtype} {list(shape)}; "
                f"{AGAIN}"
            )
    if n and (labels.max() >= spec.count or not np.isin(origins, ["real", *MODELS]).all()):
        raise UserError(f"{path} holds labels or origins that do not exist; {AGAIN}")
    if not np.isfinite(scores).all():
        raise UserError(f"{path}: scores holds NaN or infinity; {AGAIN}")
    md5 = hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    return Game(images, labels, origins, scores, md5)


@torch.no_grad()
def opinions(judge: Classifier, game: Game, spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """(the class that the classifier names `[n]`, its probability of that class `[n]`)."""
    x = spec.to_float(game.images).to(next(judge.parameters()).device)
    sure, read = classify(judge, x)[1].softmax(dim=1).max(dim=1)
    return read.cpu().numpy(), sure.cpu().numpy()
