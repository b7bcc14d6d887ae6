"""The metrics: name, direction, unit and source of each."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric's name, group, direction, unit, source and interval."""

    key: str
    name: str
    group: Literal["fidelity", "diversity", "memorising", "usefulness", "likelihood", "stability", "cost"]
    better: Literal["higher", "lower", "near 1", "none"]
    unit: str
    paper: str
    interval: str
    """What the interval resamples, or why there is none."""
    digits: int = 2
    scale: float = 1
    """The displayed value is value * scale."""


METRICS = [
    Metric("class_accuracy", "Class accuracy", "fidelity", "higher", "%",
           "GAN-test: Shmelkov et al. 2018", "images", 1, 100),
    Metric("frechet_distance", "Fréchet distance", "fidelity", "lower", "feature units²",
           "FID: Heusel et al. 2017", "none: resampled sets hold duplicates, which bias it upwards", 2),
    Metric("kernel_distance", "Kernel distance", "fidelity", "lower", "MMD²",
           "KID: Bińkowski et al. 2018", "disjoint blocks of 1,000 images", 3),
    Metric("precision", "Precision", "fidelity", "higher", "%",
           "Kynkäänniemi et al. 2019", "samples, neighbourhoods fixed", 1, 100),
    Metric("density", "Density", "fidelity", "near 1", "ratio to real",
           "Naeem et al. 2020", "samples, neighbourhoods fixed", 2),
    Metric("sharpness", "Sharpness against real", "fidelity", "near 1", "ratio",
           "variance of the Laplacian: Pech-Pacheco et al. 2000", "images", 2),
    Metric("recall", "Recall", "diversity", "higher", "%",
           "Kynkäänniemi et al. 2019", "real images, neighbourhoods fixed", 1, 100),
    Metric("coverage", "Coverage", "diversity", "higher", "%",
           "Naeem et al. 2020", "real images, neighbourhoods fixed", 1, 100),
    Metric("vendi_features", "Vendi score, features", "diversity", "higher", "effective images per class",
           "Friedman & Dieng 2022", "none: resampled sets hold duplicates, which lower it", 2),
    Metric("vendi_pixels", "Vendi score, pixels", "diversity", "higher", "effective images per class",
           "Friedman & Dieng 2022", "none: resampled sets hold duplicates, which lower it", 2),
    Metric("pairwise_ssim", "SSIM of pairs of the same class", "diversity", "lower", "SSIM",
           "after Odena et al. 2017", "disjoint pairs, half as many as images", 3),
    Metric("pairwise_distance", "Distance of pairs of the same class", "diversity", "higher", "feature units",
           "this project, after Odena et al. 2017", "disjoint pairs, half as many as images", 2),
    Metric("authenticity", "Authentic samples", "memorising", "higher", "%",
           "Alaa et al. 2022", "samples, training images fixed", 1, 100),
    Metric("gan_train", "GAN-train accuracy", "usefulness", "higher", "%",
           "Shmelkov et al. 2018; CAS: Ravuri & Vinyals 2019", "real test images", 1, 100),
    Metric("parzen_log_likelihood", "Parzen log-likelihood", "likelihood", "higher", "nats",
           "Goodfellow et al. 2014; Mirza & Osindero 2014", "real test images", 1),
    Metric("picture_change", "Picture change per epoch", "stability", "lower", "% of the grey range",
           "this project", "the fixed noise vectors", 2, 100),
    Metric("reading_change", "Pictures classified differently an epoch later", "stability", "lower", "%",
           "this project", "the fixed noise vectors", 1, 100),
    Metric("accuracy_change", "Class accuracy change per epoch", "stability", "lower", "% points",
           "this project, on pictures of fixed noise", "late epochs", 1, 100),
    Metric("parameters", "Parameters that draw", "cost", "lower", "thousands",
           "counted", "none: exact", 0, 0.001),
    Metric("multiply_adds", "Multiply-adds to draw an image", "cost", "lower", "millions",
           "counted", "none: exact", 2, 1e-6),
]  # fmt: skip

BY_KEY = {metric.key: metric for metric in METRICS}
