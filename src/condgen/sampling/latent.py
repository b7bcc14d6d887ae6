"""Which points of the latent space are drawn: samples, interpolations, manifolds, the article's table."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from condgen.base.random import generator
from condgen.base.sections import Section
from condgen.sampling.generator import Generator

CLASSES, STEPS = 12, 8  # of the latent space, at most so many are kept for the page


class SampleParams(Section):
    """Section `sample` of params.yaml."""

    section: ClassVar[str] = "sample"
    per_class: int = Field(ge=10, le=100_000)
    table_epochs: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    manifold_steps: int = Field(ge=2, le=100)


def sample(model: Generator, per_class: int, seed: int) -> dict:
    """{images: uint8 [classes * per_class, ...], labels: uint8 [classes * per_class]}, class after class.

    z ~ N(0, I) is drawn for all images at once, so an image does not depend on the batch it is in.
    """
    labels = model.spec.every_class(per_class)
    return {"images": model.images(labels, "sample", seed), "labels": labels.numpy().astype(np.uint8)}


def manifold(model: Generator, steps: int) -> np.ndarray:
    """What each class looks like over a 2-D latent space: uint8 `[classes, steps, steps, ...]`.

    z runs over the quantiles of N(0, 1) in both directions, so that every picture represents the same
    share of the prior (Kingma & Welling 2014, figure 4). z_1 grows to the right, z_2 upwards.
    """
    quantiles = torch.special.ndtri((torch.arange(steps) + 0.5) / steps)
    up, right = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    z = torch.stack([right.flatten(), up.flatten()], dim=1).repeat(model.spec.count, 1)
    labels = model.spec.every_class(steps * steps)
    return model.draw(z, labels).reshape(model.spec.count, steps, steps, *model.spec.shape)


def pictures(model: Generator, manifold_steps: int, seed: int) -> dict[str, np.ndarray]:
    """Pictures of the latent space: same_noise, interpolation, and manifold if it is 2-D."""
    found = {"same_noise": same_noise(model, 10, seed), "interpolation": interpolation(model, 15, seed)}
    return found | ({"manifold": manifold(model, manifold_steps)} if model.latent_dim == 2 else {})


def arrays(spaces: Mapping[str, Mapping[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
    """The content of data/samples/latent.npz: what the page shows of the latent spaces, uint8.

    spaces: model -> its `pictures`. count: of classes. <model>_same_noise and <model>_interpolation are
    `[c, s, ...]`, <model>_manifold is `[c, s, s, ...]`, without rows unless the latent space is 2-D; evenly
    spaced steps s of the first classes c.
    """
    found = {}
    for name, pictures in spaces.items():
        for kind in ("same_noise", "interpolation"):
            by_class = pictures[kind].reshape(count, -1, *pictures[kind].shape[1:])[:CLASSES]
            found[f"{name}_{kind}"] = by_class[:, _even(by_class.shape[1])]
        image = pictures["same_noise"].shape[1:]
        grids = pictures.get("manifold", np.zeros((0, 1, 1, *image), np.uint8))[:CLASSES]
        kept = _even(grids.shape[1])
        found[f"{name}_manifold"] = grids[:, kept][:, :, kept]
    return found


def _even(steps: int) -> np.ndarray:
    """At most STEPS of so many, evenly spaced, the first and the last among them."""
    return np.rint(np.linspace(0, steps - 1, min(STEPS, steps))).astype(int)


def same_noise(model: Generator, n: int, seed: int) -> np.ndarray:
    """The same n z under every label: uint8 `[classes * n, ...]`, a row for each label, a column for each z.

    What stays the same along a column (slant, thickness) comes from the noise, what changes from the label.
    """
    z = torch.randn(n, model.latent_dim, generator=generator(seed, "same noise"))
    return model.draw(z.repeat(model.spec.count, 1), model.spec.every_class(n))


def interpolation(model: Generator, steps: int, seed: int) -> np.ndarray:
    """From one z to another in even steps, for each class: uint8 `[classes * steps, ...]`, a row per class.

    Along the great circle (slerp; White 2016, "Sampling Generative Networks"), because a straight line
    between two Gaussian points passes where the prior has almost no mass.
    """
    a, b = torch.randn(2, model.spec.count, model.latent_dim, generator=generator(seed, "interpolation"))
    t = torch.linspace(0, 1, steps).view(-1, 1)
    paths = [slerp(x, y, t) for x, y in zip(a, b, strict=True)]
    return model.draw(torch.cat(paths), model.spec.every_class(steps))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points `[s, d]` at fractions t `[s, 1]` of the way from a `[d]` to b `[d]`, at a constant
    angular speed if both are of the same length."""
    angle = torch.acos(torch.clamp(a @ b / (a.norm() * b.norm()), -1, 1))
    if angle < 1e-4 or angle > torch.pi - 1e-4:  # (anti)parallel: no unique great circle
        return a + t * (b - a)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def table(
    wanted: list[int], epochs: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> dict[int, np.ndarray]:
    """One model's part of the article's table, from its history: epoch -> a picture per class.

    Shows the wanted epochs that were trained, and always the last of the history. Its model is the
    one that is evaluated, unless a prior was trained on alone after it.
    epochs `[e]`, images uint8 `[e, n, ...]`, labels `[n]`.
    """
    first = [int(np.argmax(labels == label)) for label in np.unique(labels)]
    last = int(epochs[-1])
    shown = sorted({last, *(epoch for epoch in wanted if epoch < last)})
    return {epoch: images[epoch - 1, first] for epoch in shown}
