"""Arrays -> numbers. Nothing here knows which model made the images.

Everything is measured with one classifier, which was trained on real digits and saw no sample.
"""

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from condgen import data


def class_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, list[float]]:
    """How often an image is read as the class that was asked for: over all, and for each class.

    Range [0, 1], higher is better. The GAN-test of Shmelkov, Schmid & Alahari 2018, "How good is my
    GAN?". It measures fidelity and obedience, not diversity: one good picture a class scores 1.
    logits `[n, 10]`, labels `[n]`; every class must occur.
    """
    hit = (logits.argmax(dim=1) == labels).double()
    by_class = [float(hit[labels == label].mean()) for label in range(data.CLASSES)]
    return float(hit.mean()), by_class


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Frechet distance between Gaussians fitted to two sets of features, `[n, f]` and `[m, f]`.

    |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)); 0 is best, no upper bound. Heusel et al. 2017,
    "GANs Trained by a Two Time-Scale Update Rule" (FID), but in the features of this project's
    classifier, not of Inception: values compare within this project only. It is biased upwards for
    small n, so compare only values at equal n. Computed by torchmetrics in float64.
    """
    distance = FrechetInceptionDistance(feature=_AsGiven(features.shape[1])).set_dtype(torch.float64)
    distance.update(features.double().cpu(), real=False)
    distance.update(reference.double().cpu(), real=True)
    # Rounding can leave a distance of nothing at -1e-12.
    return max(float(distance.compute()), 0.0)


class _AsGiven(nn.Module):
    """Stands where torchmetrics expects a network: what comes in already is features."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def same_count_per_class(images: data.Images, per_class: int) -> data.Images:
    """The first `per_class` images of every class, or as many as the rarest class has."""
    count = min(per_class, int(torch.bincount(images.y, minlength=data.CLASSES).min()))
    rows = torch.cat([(images.y == label).nonzero()[:count, 0] for label in range(data.CLASSES)])
    return data.Images(images.x[rows], images.y[rows])


def compare(features: Tensor, logits: Tensor, labels: Tensor, reference: Tensor) -> dict:
    """All numbers of one set of images against the reference features; plain values for JSON."""
    accuracy, by_class = class_accuracy(logits, labels)
    return {
        "images": len(labels),
        "class_accuracy": accuracy,
        "class_accuracy_by_digit": by_class,
        "frechet_distance": frechet_distance(features, reference),
    }


def headline(numbers: dict) -> dict:
    """The scalars of `compare` that measure quality: what a table of runs should show."""
    return {key: value for key, value in numbers.items() if isinstance(value, float)}
