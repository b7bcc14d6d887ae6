"""Which pictures a stage makes, and the names of their files. `figures` draws them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from condgen.datasets.spec import Spec
from condgen.reporting import figures

CURVES = {
    "cvae": ("epoch", "train_loss", "val_loss"),
    "cgan": ("epoch", "d_loss", "g_loss", "d_real", "d_fake"),
}
"""The columns of data/plots/<model>.csv that are drawn."""


def samples(folder: str, spec: Spec, name: str, samples: Mapping[str, np.ndarray]) -> None:
    """A row of samples for each class: <model>_classes.png."""
    figures.class_grid(f"{folder}/{name}_classes.png", spec.classes, samples["images"], samples["labels"])


def latent_space(folder: str, spec: Spec, name: str, pictures: Mapping[str, np.ndarray]) -> None:
    """<model>_{same_noise,interpolation,manifold}.png, from what `latent.pictures` returns."""
    for picture in ("same_noise", "interpolation"):
        figures.rows(f"{folder}/{name}_{picture}.png", spec.classes, pictures[picture])
    if "manifold" in pictures:
        figures.manifold(f"{folder}/{name}_manifold.png", pictures["manifold"])


def learning(
    folder: str,
    spec: Spec,
    tables: Mapping[str, Mapping[int, np.ndarray]],
    histories: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    """article_table.png, from each model's `latent.table`, and training.gif, from its history."""
    figures.article_table(f"{folder}/article_table.png", spec.classes, tables)
    pictures = {name: history[:2] for name, history in histories.items()}
    figures.animation(f"{folder}/training.gif", spec.count, pictures)


def history(folder: str, spec: Spec, name: str, images: np.ndarray) -> None:
    """<model>/<epoch>.png, numbered pictures from its history, uint8 `[e, n, ...]`."""
    figures.history(f"{folder}/{name}", spec.count, images)


def evaluation(folder: str, results: Mapping[str, Any], curves: Mapping[str, Sequence[Mapping]]) -> None:
    """{accuracy,vendi}_by_class.png, confusion.png and curves.png, from the content of evaluate.json."""
    accuracy, vendi = (
        {name: results[name][key] for name in figures.NAMES}
        for key in ("class_accuracy_by_class", "vendi_features_as_asked_by_class")
    )
    classes = results["classes"]
    percent = {name: [100 * value for value in values] for name, values in accuracy.items()}
    figures.bars_by_class(f"{folder}/accuracy_by_class.png", classes, percent, "classified as asked, %")
    figures.bars_by_class(f"{folder}/vendi_by_class.png", classes, vendi, "effective images")
    tables = {name: results[name]["confusion"] for name in curves}
    figures.confusion(f"{folder}/confusion.png", classes, tables)
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
