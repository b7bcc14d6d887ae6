"""The pictures of the page's game, real and drawn ones, and what the discriminator says of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch

from condgen.base import random
from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.datasets.spec import Spec
from condgen.models.cgan import CGAN
from condgen.sampling.generator import Generator

EACH = 60  # real pictures, and of each model
COMPARED = 1000  # images by which D's threshold is found, real and drawn
BATCH = 500  # images at once


def read(path: str | Path, p: data.SplitParams, spec: Spec) -> data.Split:
    """`data.load`, for models of images of this spec. Raises UserError if the images are of another one."""
    split = data.load(path, p)
    if split.spec != spec:
        raise UserError(
            f"{path} holds other classes or sizes than the models were trained on: 'dvc repro' trains them "
            "again"
        )
    return split


def pictures(
    samples: Mapping[str, Mapping[str, np.ndarray]], split: data.Split, cgan: Generator, seed: int
) -> dict[str, np.ndarray]:
    """Real test images, and as many samples of each model with the same labels, for data/playground/game.npz.

    The labels are the same, so that none gives away where a picture comes from. samples: model -> images
    uint8 and labels, as `latent.sample` returns them. Returns images uint8 `[n, ...]`, labels uint8 `[n]`,
    origins `[n]` ("real" or a model's name), and scores float32 `[n]`: above 0, the trained D takes a picture
    with this label for real. At most EACH of each origin; fewer where there are not that many.
    """
    spec, test = split.spec, split.test
    sets = {"real": (spec.to_uint8(test.x), test.y.cpu().numpy())} | {
        name: (found["images"], found["labels"].astype(np.int64)) for name, found in samples.items()
    }
    mixed = {
        name: torch.randperm(len(labels), generator=random.generator(seed, f"game/{name}")).numpy()
        for name, (_, labels) in sets.items()
    }
    by_class = {
        name: [mixed[name][labels[mixed[name]] == label] for label in range(spec.count)]
        for name, (_, labels) in sets.items()
    }
    # One of each class after the other, of classes in random order, until there are EACH.
    order = torch.randperm(spec.count, generator=random.generator(seed, "game/classes")).tolist()
    there = {label: min(len(rows[label]) for rows in by_class.values()) for label in order}
    places = [(label, turn) for turn in range(max(there.values())) for label in order if turn < there[label]][
        :EACH
    ]
    found = {
        "images": np.concatenate(
            [sets[name][0][[rows[label][turn] for label, turn in places]] for name, rows in by_class.items()]
        ),
        "labels": np.array([label for _ in sets for label, _ in places], np.uint8),
        "origins": np.array([name for name in sets for _ in places], "U16"),
    }
    return found | {"scores": scores(cgan, found, split.validation, samples["cgan"])}


def scores(
    cgan: Generator,
    chosen: Mapping[str, np.ndarray],
    validation: data.Images,
    drawn: Mapping[str, np.ndarray],
) -> np.ndarray:
    """D's logits of the chosen pictures, less the logit at which it tells real from drawn, float32 `[n]`.

    That is where it is wrong equally often about real validation images and about the CGAN's samples. It is
    not 0: D was trained with dropout, without which its logits are others, and some losses have no zero.
    """
    step = -(-len(drawn["labels"]) // COMPARED)
    real = logits(cgan, validation.x[:COMPARED], validation.y[:COMPARED])
    x = cgan.spec.to_float(drawn["images"][::step])
    fake = logits(cgan, x, torch.from_numpy(drawn["labels"][::step].astype(np.int64)))
    labels = torch.from_numpy(chosen["labels"].astype(np.int64))
    found = logits(cgan, cgan.spec.to_float(chosen["images"]), labels)
    return (found - equal_error(real, fake)).astype(np.float32)


def equal_error(real: np.ndarray, fake: np.ndarray) -> float:
    """The threshold with as large a share of real values at or below it as of fake ones above it."""
    at = np.sort(np.concatenate([real, fake]))
    missed = np.searchsorted(np.sort(real), at, side="right") / len(real)
    fooled = 1 - np.searchsorted(np.sort(fake), at, side="right") / len(fake)
    return float(at[np.abs(missed - fooled).argmin()])


@torch.no_grad()
def logits(cgan: Generator, x: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """D's logits of "real", float32 `[n]`, for x `[n, d]` in [0, 1] and labels `[n]`; without dropout."""
    network, y = cast(CGAN, cgan.network), cgan.spec.one_hot(labels)
    parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
    found = [network.discriminate(2 * a.to(cgan.device) - 1, b.to(cgan.device)).cpu() for a, b in parts]
    return torch.cat(found).numpy()
