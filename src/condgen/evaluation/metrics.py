"""Metrics: arrays -> numbers, each with its paper, unit, direction and sample size, whatever the model.

Distances between images are measured in the features of this project's classifier, which was trained on real
images only. So they are not comparable with published values, which use Inception's features.
`catalog.METRICS` has the name of every metric, for the report, the docs and the claims.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

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
SOME = 2000  # images whose neighbours are looked for in pixels, or among all training images
THIRD = 3  # stability is measured over the last third of training


def class_accuracy(logits: Tensor, labels: Tensor) -> tuple[Value, list[float]]:
    """How often an image is classified as the class that was asked for: over all, and for each class.

    In [0, 1], higher is better. GAN-test: Shmelkov, Schmid & Alahari 2018, "How good is my GAN?". It
    measures fidelity to the label, not diversity: one good picture per class scores 1.
    logits `[n, classes]`, labels `[n]`. A class without images scores 0.
    """
    labels = labels.cpu()
    hit = logits.argmax(dim=1).cpu() == labels
    hits, counts = (torch.bincount(y, minlength=logits.shape[1]) for y in (labels[hit], labels))
    return _share(hit), (hits / counts.clamp(min=1).double()).tolist()


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
    disjoint blocks of at most 1,000 images, by torchmetrics' estimator; the interval is Student's of the
    blocks, so it needs several of them.
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


def neighbourhoods(features: Tensor, reference: Tensor, right: Tensor | None = None) -> dict[str, Value]:
    """precision, recall (Kynkaanniemi et al. 2019) and density, coverage (Naeem et al. 2020).

    features `[n, f]`, reference `[m, f]`. A neighbourhood is the ball that reaches an image's 5th neighbour.
    Precision: share of samples in a neighbourhood of a real image, whatever its class; precision_as_asked: of
    the samples `right` `[n]`, bool (0 where there are none). Recall: share of real images in one of a sample.
    Density: how many neighbourhoods of real images a sample is in, over 5; 1 for real images. Coverage: share
    of real images with a sample in their neighbourhood. All but density in [0, 1].

    Only coverage has an interval. The others vary more than means of independent values do, because the
    neighbourhoods are drawn too: in simulations with both sets drawn anew, intervals of such means often held
    the true one in less than 90 % of cases. Coverage's holds it in 95 %, but above 0.8 in about 90 %.
    """
    balls, recalled, covered = count_neighbours(features, reference, NEAREST)
    precise = (balls > 0).double()
    found = {
        "precision": Value(float(precise.mean()), n=len(features)),
        "recall": Value(float(recalled.double().mean()), n=len(reference)),
        "density": Value(float(balls.double().mean()) / NEAREST, n=len(features)),
        "coverage": _share(covered),
    }
    if right is not None:
        n = int(right.sum())
        found["precision_as_asked"] = Value(float(precise[right.cpu()].sum()) / max(n, 1), n=n)
    return found


def in_another_space(
    space: Callable[[Tensor], Tensor], x: Tensor, reference: Tensor, name: str
) -> dict[str, Value]:
    """recall_NAME and coverage_NAME of at most SOME images each, by the distances in another space.

    space: images `[n, d]` -> their place in it, `[n, f]`. What the judge's features show need not be so in
    another classifier's, nor in pixels, which nobody trained.
    """
    found = neighbourhoods(space(_some(x)), space(_some(reference)))
    return {f"{key}_{name}": found[key] for key in ("recall", "coverage")}


def _share(hits: Tensor) -> Value:
    return intervals.share(int(hits.sum()) / len(hits), len(hits))


def _some(x: Tensor) -> Tensor:
    """At most SOME rows of x, spread evenly."""
    return x[:: -(-len(x) // SOME)]


def label_share(x: Tensor, labels: Tensor) -> Value:
    """How much of a picture its label decides, and not the noise: the classes' share of the pixels' variance.

    1 - (variance within classes) / (total variance), both unbiased and summed over pixels; at most 1, and
    about 0 if pictures do not depend on the label. Kelley 1935, "An unbiased correlation ratio measure"
    (epsilon squared). x `[n, d]`, labels `[n]`, those asked for. The interval is that of a ratio of means, by
    its linear terms (Cochran 1977, "Sampling Techniques", chapter 6). A class with one picture says nothing
    of the variance within classes, and is left out.
    """
    counts = labels.bincount()
    several = counts[labels] > 1
    x, labels = x[several], labels[several]
    if not len(x):
        return Value(0.0, n=0)
    means = x.new_zeros(len(counts), x.shape[1]).index_add_(0, labels, x) / counts.clamp(min=1)[:, None]
    sizes = counts[labels].cpu()
    within = _squared_from(x, means, labels) * sizes / (sizes - 1)
    total = _squared_from(x, x.mean(dim=0, keepdim=True), torch.zeros_like(labels)) * len(x) / (len(x) - 1)
    if not total.any():
        return Value(0.0, n=len(x))
    noise = within.mean() / total.mean()
    terms = 1 - noise - (within - noise * total) / total.mean()
    return intervals.mean(terms.numpy(), labels.cpu().numpy())


def _squared_from(x: Tensor, centres: Tensor, rows: Tensor) -> Tensor:
    """Squared distance of each of x from its row of centres, float64 `[n]`, on the CPU."""
    parts = zip(x.split(BATCH), rows.split(BATCH), strict=True)
    return torch.cat([(part - centres[row]).square().sum(dim=1).cpu().double() for part, row in parts])


def vendi_score(x: Tensor, labels: Tensor, classes: int) -> tuple[Value, list[float]]:
    """Effective number of different images per class: the mean over classes, and each class's, in [0, n].

    x `[n, d]`, pixels or features; labels `[n]`. A class without images scores 0. A picture of another class
    counts as a different one, so give it only those that are classified as was asked.
    """
    by_class = [effective_number(x[labels == label]) for label in range(classes)]
    return Value(float(np.mean(by_class)), n=len(labels)), by_class


def effective_number(x: Tensor) -> float:
    """The Vendi score of rows x `[n, d]` with the cosine as their similarity; in [1, n], 0 without rows.

    exp(-sum_i lambda_i log lambda_i), where lambda are the eigenvalues of K / n and K_ij = cos(x_i, x_j).
    Friedman & Dieng 2022, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning".
    """
    if not len(x):
        return 0.0
    x = F.normalize(x.cpu().double(), dim=1)
    # x x^T [n, n] and x^T x [d, d] have the same eigenvalues except zeros, which add nothing.
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    # SciPy's: beside other processes, PyTorch's took 10 s instead of 0.05, as OpenMP's waiting threads spin.
    eigenvalues = eigvalsh(gram.numpy() / len(x)).clip(min=0)  # rounding leaves some at -1e-17
    return float(np.exp(entr(eigenvalues).sum()))


def pairwise_ssim(maps: Tensor, labels: Tensor) -> Value:
    """Mean structural similarity of disjoint random pairs of the same class; 1 means identical.

    After Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", who use the
    multi-scale form, for which MNIST's images are too small. Of the interior, where the window lies within
    the image, as in the code of Wang et al. 2004: a blank rim is alike in all pictures.
    maps `[n, channels, side, side]` in [0, 1], labels `[n]`. The window's deviation is the usual 1.5 pixels,
    or 0.5 for images of fewer than 16 pixels, most of which it would see at once. 1 where no class has a
    pair.
    """
    rows, others = _pairs(labels)
    a, b = maps[rows].cpu(), maps[others].cpu()
    if not len(a):
        return Value(1.0, n=0)
    sigma = 1.5 if maps.shape[-1] >= 16 else 0.5
    rim = int(3.5 * sigma + 0.5)  # half of torchmetrics' window
    values = []
    for pairs in zip(a.split(BATCH), b.split(BATCH), strict=True):
        _, whole = structural_similarity_index_measure(
            *pairs, sigma=sigma, data_range=1.0, reduction="none", return_full_image=True
        )
        values.append(whole[..., rim:-rim, rim:-rim].double().mean(dim=(1, 2, 3)))
    return intervals.mean(torch.cat(values).numpy(), labels[rows].cpu().numpy())


def pairwise_distance(features: Tensor, labels: Tensor) -> Value:
    """Mean distance in features of disjoint random pairs of the same class; 0 means identical.

    The second kind of similarity beside `pairwise_ssim`: of what the classifier sees, not of pixels.
    features `[n, f]`, labels `[n]`. 0 where no class has a pair.
    """
    rows, others = _pairs(labels)
    if not len(rows):
        return Value(0.0, n=0)
    distances = (features[rows] - features[others]).norm(dim=1)
    return intervals.mean(distances.cpu().numpy(), labels[rows].cpu().numpy())


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
    SOME samples, spread evenly, are taken. Blurred samples score low without being copies, and so do
    samples that crowd where training images are rare: compare it with the value of real images.
    """
    samples, train = _some(features).cpu(), train.cpu()
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
    The intervals of the first two are over noise vectors, of the epochs that were seen. The last has none:
    its epochs follow from one another.
    """
    start = max(len(images) - max(len(images) // THIRD, 2), 0)
    late, late_read = images[start:], read[start:]
    if len(late) < 2:
        raise ValueError("stability needs at least two epochs")
    change = (late[1:] - late[:-1]).abs().mean(dim=(0, 2))  # [n]: one value per noise vector
    other = (late_read[1:] != late_read[:-1]).float().mean(dim=0)
    accuracy = (late_read == labels).float().mean(dim=1)  # [epochs]
    changes = {"picture_change": intervals.mean(change.cpu().numpy())}
    changes["reading_change"] = intervals.mean(other.cpu().numpy())
    return {
        # Neither can be negative.
        **{k: v if v.low is None else replace(v, low=max(v.low, 0.0)) for k, v in changes.items()},
        "accuracy_change": Value(float(accuracy.diff().abs().mean()), n=len(late) - 1),
    }


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
    # A picture of another class is no diversity within the one that was asked for.
    right = logits.argmax(dim=1) == drawn.y
    x, of_class = drawn.x[right], drawn.y[right]
    vendi, vendi_by_class = vendi_score(features[right], of_class, spec.count)
    values = {
        "class_accuracy": accuracy,
        "label_share": label_share(drawn.x, drawn.y),
        "frechet_distance": frechet_distance(features, real),
        "kernel_distance": kernel_distance(features, real),
        **neighbourhoods(features, real, right),
        "sharpness": sharpness(spec.maps(drawn.x), spec.maps(reference.x)),
        **in_another_space(lambda x: x, drawn.x, reference.x, "pixels"),
        "vendi_features_as_asked": vendi,
        "vendi_pixels_as_asked": vendi_score(x, of_class, spec.count)[0],
        "pairwise_ssim_interior": pairwise_ssim(spec.maps(x), of_class),
        "pairwise_distance": pairwise_distance(features[right], of_class),
    }
    by_class: dict[str, Sequence] = {
        "class_accuracy_by_class": accuracy_by_class,
        "vendi_features_as_asked_by_class": vendi_by_class,
        "confusion": confusion(logits, drawn.y),
    }
    return values, by_class
