"""Metrics: arrays -> numbers, each with its paper, unit, direction and sample size, whatever the model.

Distances between images are measured in the features of this project's classifier, which was trained on real
images only. So they are not comparable with published values, which use Inception's features.
`catalog.METRICS` has the name of every metric, for the report, the docs and the claims.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import eigvalsh
from scipy.special import entr
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from condgen.base import intervals
from condgen.base.intervals import Value
from condgen.base.random import generator
from condgen.datasets import data
from condgen.datasets.spec import Spec
from condgen.evaluation.neighbourhoods import count_neighbours

NEAREST = 5  # k of the nearest-neighbour metrics, as Naeem et al. 2020 recommend
PER_CLASS = 1000  # most images per class that are measured: the time for neighbours grows quadratically
KID_BLOCK = 1000  # images in one estimate of the kernel distance, as in Binkowski et al. 2018
BATCH = 100  # images at once for SSIM and sharpness, which need many times the images' memory
AUTHENTIC = 2000  # samples whose nearest training images are looked for
THIRD = 3  # stability is measured over the last third of training


def class_accuracy(logits: Tensor, labels: Tensor) -> tuple[Value, list[float]]:
    """How often an image is classified as the class that was asked for: over all, and for each class.

    In [0, 1], higher is better. GAN-test: Shmelkov, Schmid & Alahari 2018, "How good is my GAN?". It
    measures fidelity to the label, not diversity: one good picture per class scores 1.
    logits `[n, classes]`, labels `[n]`; every class must occur.
    """
    hit = (logits.argmax(dim=1) == labels).cpu().double()
    labels = labels.cpu()
    by_class = [float(hit[labels == label].mean()) for label in range(logits.shape[1])]
    return intervals.mean(hit.numpy()), by_class


def frechet_distance(features: Tensor, reference: Tensor) -> Value:
    """Frechet distance between Gaussians fitted to two sets of features, `[n, f]` and `[m, f]`.

    |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)); 0 is best, no upper bound. Heusel et al. 2017,
    "GANs Trained by a Two Time-Scale Update Rule" (FID). It is biased upwards for small n, so compare
    only values at equal n. Computed by torchmetrics in float64.
    """
    distance = FrechetInceptionDistance(feature=_AsGiven(features.shape[1])).set_dtype(torch.float64)
    distance.update(features.cpu().double(), real=False)
    distance.update(reference.cpu().double(), real=True)
    # Rounding can turn a distance of 0 into -1e-12.
    return Value(max(float(distance.compute()), 0.0), n=len(features))


class _AsGiven(nn.Module):
    """The network that torchmetrics expects; its input already is features."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(features: Tensor, reference: Tensor) -> Value:
    """Squared maximum mean discrepancy with the cubic kernel (x.y / f + 1)^3; unbiased; 0 is best.

    Binkowski et al. 2018, "Demystifying MMD GANs" (KID). features `[n, f]`, reference `[m, f]`. The mean over
    disjoint blocks of at most 1,000 images, by torchmetrics' estimator; the interval resamples the blocks,
    so it needs several of them.
    """
    n = min(len(features), len(reference))
    blocks = max(n // KID_BLOCK, 1)
    x, y = features.cpu().double(), reference.cpu().double()
    # Samples are sorted by class. Shuffled, each block is a sample of the whole set.
    x = x[torch.randperm(len(x), generator=generator(0, "kernel distance/x"))][:n]
    y = y[torch.randperm(len(y), generator=generator(0, "kernel distance/y"))][:n]
    size = min(n, KID_BLOCK)
    parts = zip(x.split(size)[:blocks], y.split(size)[:blocks], strict=True)
    estimates = [float(poly_mmd(b, a)) for a, b in parts]
    value = intervals.mean(np.array(estimates))
    return value if blocks >= 5 else Value(value.value, n=value.n)


def neighbourhoods(features: Tensor, reference: Tensor) -> dict[str, Value]:
    """precision, recall (Kynkaanniemi et al. 2019) and density, coverage (Naeem et al. 2020).

    features `[n, f]`, reference `[m, f]`. A neighbourhood is the ball that reaches an image's 5th neighbour.
    Precision: share of samples in a neighbourhood of a real image. Recall: share of real images in one of
    a sample. Density: how many neighbourhoods of real images a sample is in, over 5; 1 for real images.
    Coverage: share of real images with a sample in their neighbourhood. All but density in [0, 1].
    """
    balls, recalled, covered = count_neighbours(features, reference, NEAREST)
    return {
        "precision": _share(balls > 0),
        "recall": _share(recalled),
        "density": _mean_or_nothing(balls.numpy() / NEAREST),
        "coverage": _share(covered),
    }


def _share(hits: Tensor) -> Value:
    return intervals.share(int(hits.sum()) / len(hits), len(hits))


def vendi_score(x: Tensor, labels: Tensor) -> tuple[Value, list[float]]:
    """Effective number of different images per class: the mean over classes, and each class's, in [1, n].

    x `[n, d]`, pixels or features; labels `[n]`, those asked for. A wrong class counts as a different
    picture, so compare it with the class accuracy.
    """
    by_class = [effective_number(x[labels == label]) for label in labels.unique()]
    return Value(float(np.mean(by_class)), n=len(labels)), by_class


def effective_number(x: Tensor) -> float:
    """The Vendi score of rows x `[n, d]` with the cosine as their similarity; in [1, n].

    exp(-sum_i lambda_i log lambda_i), where lambda are the eigenvalues of K / n and K_ij = cos(x_i, x_j).
    Friedman & Dieng 2022, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning".
    """
    x = F.normalize(x.cpu().double(), dim=1)
    # x x^T [n, n] and x^T x [d, d] have the same eigenvalues except zeros, which add nothing.
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    # SciPy's: beside other processes, PyTorch's took 10 s instead of 0.05, as OpenMP's waiting threads spin.
    eigenvalues = eigvalsh(gram.numpy() / len(x)).clip(min=0)  # rounding leaves some at -1e-17
    return float(np.exp(entr(eigenvalues).sum()))


def pairwise_ssim(maps: Tensor, labels: Tensor) -> Value:
    """Mean structural similarity of disjoint random pairs of the same class; 1 means identical.

    After Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", who use the
    multi-scale form, for which MNIST's images are too small. maps `[n, channels, side, side]` in [0, 1],
    labels `[n]`. The window's deviation is the usual 1.5 pixels, or 0.5 for images of fewer than 16 pixels,
    most of which it would see at once. 1 where no class has a pair.
    """
    a, b = (maps[rows].cpu() for rows in _pairs(labels))
    if not len(a):
        return Value(1.0, n=0)
    sigma = 1.5 if maps.shape[-1] >= 16 else 0.5
    values: list[Tensor] = [
        structural_similarity_index_measure(  # type: ignore[misc]
            *pairs, sigma=sigma, data_range=1.0, reduction="none"
        )
        for pairs in zip(a.split(BATCH), b.split(BATCH), strict=True)
    ]
    return _mean_or_nothing(torch.cat(values).double().numpy())


def pairwise_distance(features: Tensor, logits: Tensor, labels: Tensor) -> Value:
    """Mean distance in features of disjoint random pairs of the same class; 0 means identical.

    The second kind of similarity beside `pairwise_ssim`: of what the classifier sees, not of pixels. Only of
    images that are classified as was asked, because a wrong class would count as a different picture.
    features `[n, f]`, logits `[n, classes]`, labels `[n]`. 0 where no class has a pair.
    """
    right = logits.argmax(dim=1) == labels
    features = features[right]
    first, second = _pairs(labels[right])
    if not len(first):
        return Value(0.0, n=0)
    return _mean_or_nothing((features[first] - features[second]).norm(dim=1).cpu().double().numpy())


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of disjoint random pairs of the same class, each row in at most one pair."""
    order = torch.randperm(len(labels), generator=generator(0, "ssim")).to(labels.device)
    first, second = [], []
    for label in labels.unique():
        rows = order[labels[order] == label]
        half = len(rows) // 2
        first.append(rows[:half])
        second.append(rows[half : 2 * half])
    return torch.cat([order[:0], *first]), torch.cat([order[:0], *second])


def authenticity(features: Tensor, train: Tensor) -> Value:
    """Share of samples that are not near copies of a training image; in [0, 1], higher is better.

    A sample is authentic if it is farther from its nearest training image than that image is from its own
    nearest other training image. Alaa et al. 2022, "How Faithful is your Synthetic Data? Sample-level Metrics
    for Evaluating and Auditing Generative Models", section 3.3. features `[n, f]`, train `[m, f]`; at most
    AUTHENTIC samples, spread evenly, are taken. Blurred samples score low without being copies, and so do
    samples that crowd where training images are rare: compare it with the value of real images.
    """
    samples, train = features[:: -(-len(features) // AUTHENTIC)].cpu(), train.cpu()
    distances, rows = _nearest_two(samples, train)
    within, _ = _nearest_two(train[rows[:, 0]], train)  # the nearest is the image itself
    return _share(distances[:, 0] > within[:, 1])


def _nearest_two(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """(distances, rows) `[n, 2]` of the two reference points nearest to each of x, the nearest first."""
    found = [torch.cdist(part, reference).topk(2, largest=False) for part in x.split(BATCH)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def sharpness(maps: Tensor, reference: Tensor) -> Value:
    """Mean variance of the images' Laplacian, divided by that of real images; 1 is as sharp as real.

    Below 1 is blurred, above 1 is noisy. Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy". maps, reference `[n, channels, side, side]` in [0, 1]; of the channels, their mean is taken.
    """
    return intervals.mean(_laplacian_variance(maps) / _laplacian_variance(reference).mean())


def _laplacian_variance(maps: Tensor) -> np.ndarray:
    kernel = LAPLACIAN.to(maps.device).view(1, 1, 3, 3)
    values = [
        F.conv2d(part.mean(dim=1, keepdim=True), kernel, padding=1).flatten(1).var(dim=1)
        for part in maps.split(BATCH)
    ]
    return torch.cat(values).cpu().double().numpy()


def stability(images: Tensor, read: Tensor, labels: Tensor) -> dict[str, Value]:
    """How much pictures of the same noise still change from epoch to epoch in the last third of training.

    images `[e, n, d]` in [0, 1], after each epoch; read `[e, n]`, the classes that the classifier predicts;
    labels `[n]`, what was asked for.
    picture_change: mean absolute difference of a pixel between two epochs, as a share of the grey range.
    reading_change: share of pictures that are classified differently an epoch later.
    accuracy_change: mean absolute difference of the class accuracy of the n pictures between two epochs.
    The first two resample the noise vectors and hold the epochs fixed; the last resamples the epochs.
    """
    start = max(len(images) - max(len(images) // THIRD, 2), 0)
    late, late_read = images[start:], read[start:]
    if len(late) < 2:
        raise ValueError("stability needs at least two epochs")
    change = (late[1:] - late[:-1]).abs().mean(dim=(0, 2))  # [n]: one value per noise vector
    other = (late_read[1:] != late_read[:-1]).float().mean(dim=0)
    accuracy = (late_read == labels).float().mean(dim=1)  # [epochs]
    return {
        "picture_change": intervals.mean(change.cpu().numpy()),
        "reading_change": intervals.mean(other.cpu().numpy()),
        "accuracy_change": _mean_or_nothing(accuracy.diff().abs().cpu().numpy()),
    }


def _mean_or_nothing(values: np.ndarray) -> Value:
    """The mean; no interval if all values are equal, because Wilson's is only for shares."""
    value = intervals.mean(values)
    return value if np.ptp(values) > 0 else Value(value.value, n=value.n)


def first_of_each_class(images: data.Images, counts: Sequence[int]) -> data.Images:
    """The first counts[c] images of every class c, or as many as there are, class after class."""
    rows = [(images.y == label).nonzero()[:count, 0] for label, count in enumerate(counts)]
    return data.Images(images.x[torch.cat(rows)], images.y[torch.cat(rows)])


def confusion(logits: Tensor, labels: Tensor) -> list[list[int]]:
    """How often class i was asked for (row) and class j predicted by the classifier (column)."""
    classes = logits.shape[1]
    counts = torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2)
    return counts.view(classes, classes).tolist()


def nearest(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, distances) `[n]` of the reference image nearest to each of x, by Euclidean pixel distance."""
    # Not by a matrix product: it loses digits of small distances, the ones that matter here.
    found = torch.cdist(x, reference, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    return found.indices, found.values


def measure_images(
    spec: Spec, drawn: data.Images, features: Tensor, logits: Tensor, reference: data.Images, real: Tensor
) -> tuple[dict[str, Value], dict[str, Sequence]]:
    """All metrics that need only a set of images, and some of them by class.

    drawn: the images, with the labels asked for; features `[n, f]` and logits `[n, classes]` are theirs.
    reference: real images, and real `[m, f]` their features.
    """
    accuracy, accuracy_by_class = class_accuracy(logits, drawn.y)
    vendi_features, vendi_by_class = vendi_score(features, drawn.y)
    vendi_pixels, pixels_by_class = vendi_score(drawn.x, drawn.y)
    values = {
        "class_accuracy": accuracy,
        "frechet_distance": frechet_distance(features, real),
        "kernel_distance": kernel_distance(features, real),
        **neighbourhoods(features, real),
        "sharpness": sharpness(spec.maps(drawn.x), spec.maps(reference.x)),
        "vendi_features": vendi_features,
        "vendi_pixels": vendi_pixels,
        "pairwise_ssim": pairwise_ssim(spec.maps(drawn.x), drawn.y),
        "pairwise_distance": pairwise_distance(features, logits, drawn.y),
    }
    by_class: dict[str, Sequence] = {
        "class_accuracy_by_class": accuracy_by_class,
        "vendi_features_by_class": vendi_by_class,
        "vendi_pixels_by_class": pixels_by_class,
        "confusion": confusion(logits, drawn.y),
    }
    return values, by_class
