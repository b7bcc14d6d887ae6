"""The pictures of the report in order, with titles and captions."""

from pathlib import Path
from typing import NamedTuple

from condgen.datasets.spec import Words


class Picture(NamedTuple):
    """A picture's title, caption (text) and file."""

    title: str
    text: str
    file: Path


SAMPLES = "The first samples of the final model."
SAME_NOISE = "A column shares its noise, a row its label."
INTERPOLATION = "A row for each {one}."
LATENT = "What each {one} looks like over the two dimensions of the noise, at the quantiles of N(0, 1)."
NEAREST = "Samples, and below each the training image that is nearest in pixels."
TABLE = "Each {one} early, later and late in training, from the same noise."
LEARNED = "The same noise after every epoch, five pictures of each {one}."
ACCURACY = "How often the classifier predicts the {one} that was asked for."
VENDI = (
    "The Vendi score in the classifier's features: the effective number of different pictures, of those that "
    "are classified as the {one} that was asked for."
)
CONFUSION = "Of the samples of a {one} (row), the percentage that is classified as each {one} (column)."


def pictures(words: Words, sample: Path, evaluate: Path) -> tuple[Picture, ...]:
    """The pictures of the stages `sample` and `evaluate`, in the order of the report."""
    found = (
        Picture("The article's table", TABLE, sample / "article_table.png"),
        Picture("How they learned", LEARNED, sample / "training.gif"),
        Picture("CVAE: a row for each {one}", SAMPLES, sample / "cvae_classes.png"),
        Picture("CGAN: a row for each {one}", SAMPLES, sample / "cgan_classes.png"),
        Picture("Class accuracy by {one}", ACCURACY, evaluate / "accuracy_by_class.png"),
        Picture("Different pictures of a {one}", VENDI, evaluate / "vendi_by_class.png"),
        Picture("Confusion of {many}", CONFUSION, evaluate / "confusion.png"),
        Picture("CVAE: one noise, every label", SAME_NOISE, sample / "cvae_same_noise.png"),
        Picture("CGAN: one noise, every label", SAME_NOISE, sample / "cgan_same_noise.png"),
        Picture("CVAE: from one noise to another", INTERPOLATION, sample / "cvae_interpolation.png"),
        Picture("CGAN: from one noise to another", INTERPOLATION, sample / "cgan_interpolation.png"),
        Picture("The CVAE's latent space", LATENT, sample / "cvae_manifold.png"),
        Picture("The CGAN's latent space", LATENT, sample / "cgan_manifold.png"),
        Picture("CVAE: memorised?", NEAREST, evaluate / "cvae_nearest.png"),
        Picture("CGAN: memorised?", NEAREST, evaluate / "cgan_nearest.png"),
        Picture("Training", "Losses, and the discriminator's output, over epochs.", evaluate / "curves.png"),
    )
    said = {"one": words.one, "many": words.many}
    return tuple(Picture(p.title.format(**said), p.text.format(**said), p.file) for p in found)
