"""Which pictures a stage makes, and the names of their files. `figures` draws them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from condgen.datasets import data
from condgen.reporting import figures

CURVES = {
    "cvae": ("epoch", "train_loss", "val_loss"),
    "cgan": ("epoch", "d_loss", "g_loss", "d_real", "d_fake"),
}
"""The columns of data/plots/<model>.csv that are drawn."""


def samples(folder: str, name: str, samples: Mapping[str, np.ndarray]) -> None:
    """A row of samples for each class: <model>_classes.png."""
    figures.class_grid(f"{folder}/{name}_classes.png", samples["images"], samples["labels"])


def latent_space(folder: str, name: str, pictures: Mapping[str, np.ndarray]) -> None:
    """<model>_{same_noise,interpolation,manifold}.png, from what `latent.pictures` returns."""
    figures.grid(f"{folder}/{name}_same_noise.png", pictures["same_noise"], data.CLASSES)
    steps = len(pictures["interpolation"]) // data.CLASSES
    figures.grid(f"{folder}/{name}_interpolation.png", pictures["interpolation"], steps)
    if "manifold" in pictures:
        figures.manifold(f"{folder}/{name}_manifold.png", pictures["manifold"])


def learning(
    folder: str,
    tables: Mapping[str, Mapping[int, np.ndarray]],
    histories: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    """article_table.png, from each model's `latent.table`, and training.gif, from its history."""
    figures.article_table(f"{folder}/article_table.png", tables)
    figures.animation(f"{folder}/training.gif", {name: h[:2] for name, h in histories.items()})


def evaluation(folder: str, results: Mapping[str, Any], curves: Mapping[str, Sequence[Mapping]]) -> None:
    """{accuracy,vendi}_by_digit.png, confusion.png and curves.png, from the content of evaluate.json."""
    accuracy, vendi = (
        {name: results[name][key] for name in figures.NAMES}
        for key in ("class_accuracy_by_digit", "vendi_features_by_digit")
    )
    percent = {name: [100 * value for value in values] for name, values in accuracy.items()}
    figures.bars_by_class(f"{folder}/accuracy_by_digit.png", percent, "classified as that digit, %")
    figures.bars_by_class(f"{folder}/vendi_by_digit.png", vendi, "effective images")
    figures.confusion(f"{folder}/confusion.png", {name: results[name]["confusion"] for name in curves})
    panels = {
        "CVAE: -ELBO, nats per image": (curves["cvae"], {"train_loss": "training", "val_loss": "validation"}),
        "CGAN: losses": (curves["cgan"], {"d_loss": "discriminator", "g_loss": "generator"}),
        "CGAN: sigmoid of D's logit (article: probability of real)": (
            curves["cgan"],
            {"d_real": "D(x)", "d_fake": "D(G(z|y))"},
        ),
    }
    figures.curves(f"{folder}/curves.png", panels)


def nearest(folder: str, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """<model>_nearest.png: samples above the training images that are nearest in pixels."""
    for name, (samples, training_images) in pairs.items():
        figures.pairs(f"{folder}/{name}_nearest.png", samples, training_images)
