"""The pictures of the report in order, with titles and captions."""

from pathlib import Path
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture's title, caption (text) and file."""

    title: str
    text: str
    file: Path


SAMPLES = "The first samples of the final model."
SAME_NOISE = "A row shares its noise, a column its label."
INTERPOLATION = "A row for each digit."
LATENT = "What each digit looks like over the two dimensions of the noise, at the quantiles of N(0, 1)."
NEAREST = "Samples, and below each the training image that is nearest in pixels."
TABLE = "Each digit early, later and late in training, from the same noise."
LEARNED = "The same noise after every epoch, five pictures of each digit."
ACCURACY = "How often the classifier predicts the digit that was asked for."
VENDI = (
    "The Vendi score in the classifier's features: the effective number of different pictures. "
    "Wrong digits count as different."
)
CONFUSION = "Of the samples of a digit (row), the percentage that is classified as each digit (column)."


def pictures(sample: Path, evaluate: Path) -> tuple[Picture, ...]:
    """The pictures of the stages `sample` and `evaluate`, in the order of the report."""
    return (
        Picture("The article's table", TABLE, sample / "article_table.png"),
        Picture("How they learned", LEARNED, sample / "training.gif"),
        Picture("CVAE: a row for each digit", SAMPLES, sample / "cvae_classes.png"),
        Picture("CGAN: a row for each digit", SAMPLES, sample / "cgan_classes.png"),
        Picture("Class accuracy by digit", ACCURACY, evaluate / "accuracy_by_digit.png"),
        Picture("Different pictures of a digit", VENDI, evaluate / "vendi_by_digit.png"),
        Picture("Confusion of digits", CONFUSION, evaluate / "confusion.png"),
        Picture("CVAE: one noise, ten labels", SAME_NOISE, sample / "cvae_same_noise.png"),
        Picture("CGAN: one noise, ten labels", SAME_NOISE, sample / "cgan_same_noise.png"),
        Picture("CVAE: from one noise to another", INTERPOLATION, sample / "cvae_interpolation.png"),
        Picture("CGAN: from one noise to another", INTERPOLATION, sample / "cgan_interpolation.png"),
        Picture("The CVAE's latent space", LATENT, sample / "cvae_manifold.png"),
        Picture("The CGAN's latent space", LATENT, sample / "cgan_manifold.png"),
        Picture("CVAE: memorised?", NEAREST, evaluate / "cvae_nearest.png"),
        Picture("CGAN: memorised?", NEAREST, evaluate / "cgan_nearest.png"),
        Picture("Training", "Losses, and the discriminator's output, over epochs.", evaluate / "curves.png"),
    )
