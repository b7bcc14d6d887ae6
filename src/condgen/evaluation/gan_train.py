"""GAN-train: how well a classifier that is trained only on samples classifies real images."""

from dataclasses import replace
from typing import cast

from torch import Tensor

from condgen.datasets import data
from condgen.models import classifier
from condgen.training.loop import train, watch
from condgen.training.progress import Progress
from condgen.training.state import begin

SHOWN = 1000  # validation images that are classified after each epoch, only for the progress line


def gan_train(
    p: classifier.ClassifierParams, epochs: int, drawn: data.Images, split: data.Split, progress: Progress
) -> Tensor:
    """Which real test images are classified correctly by a classifier trained only on samples: bool `[n]`.

    GAN-train: Shmelkov et al. 2018, "How good is my GAN?"; the classification accuracy score of Ravuri &
    Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models". The accuracy is low if
    samples are unlike real images, or too much alike. The classifier is the judge's network, trained from
    scratch. Raises UserError if training diverged.
    """
    return correct(classifier_of(p, epochs, drawn, split, progress), split.test)


def classifier_of(
    p: classifier.ClassifierParams, epochs: int, drawn: data.Images, split: data.Split, progress: Progress
) -> classifier.Classifier:
    """The judge's network, trained from scratch on these images. Raises UserError if training diverged."""
    p = p.model_copy(update={"epochs": epochs})
    some = data.Images(split.validation.x[:SHOWN], split.validation.y[:SHOWN])
    state = begin(classifier, p, split.spec, p.seed, len(drawn), drawn.x.device)
    for _ in watch(
        train(classifier, state, replace(split, train=drawn, validation=some), p, p.seed, progress), progress
    ):
        pass
    return cast(classifier.Classifier, state.trained)


def correct(model: classifier.Classifier, images: data.Images) -> Tensor:
    """Which of the images are classified correctly: bool `[n]`."""
    _, logits = classifier.classify(model, images.x)
    return logits.argmax(dim=1) == images.y
