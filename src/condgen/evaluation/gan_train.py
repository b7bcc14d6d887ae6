"""How much a set of images is worth to a classifier that learns from nothing else."""

from dataclasses import replace
from typing import cast

from torch import Tensor

from condgen.datasets import data
from condgen.models import classifier
from condgen.training.loop import train, watch
from condgen.training.progress import Progress
from condgen.training.state import begin

SHOWN = 1000  # validation images that are classified after each epoch: no more than the progress line needs


def gan_train(
    p: classifier.ClassifierParams, epochs: int, drawn: data.Images, split: data.Split, progress: Progress
) -> Tensor:
    """Which real test images a classifier that was trained on samples only classifies correctly: bool `[n]`.

    GAN-train: Shmelkov et al. 2018, "How good is my GAN?"; the classification accuracy score of Ravuri &
    Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models". It falls when samples
    are unlike real images, and when they are all alike. The same network as the judge, from scratch. Raises
    UserError where training diverged.
    """
    p = p.model_copy(update={"epochs": epochs})
    some = data.Images(split.validation.x[:SHOWN], split.validation.y[:SHOWN])
    state = begin(classifier, p, p.seed, len(drawn), drawn.x.device)
    for _ in watch(
        train(classifier, state, replace(split, train=drawn, validation=some), p, p.seed, progress), progress
    ):
        pass
    _, logits = classifier.classify(cast(classifier.Classifier, state.model), split.test.x)
    return logits.argmax(dim=1) == split.test.y
