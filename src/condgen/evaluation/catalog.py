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
    """What varies in the 95 % interval, and what is given; or why there is none."""
    digits: int = 2
    scale: float = 1
    """The displayed value is value * scale."""


VARYING = "none: the neighbourhoods vary too, compare seeds"
COVERED = "real images; above 80 % it is too narrow, about a 90 % interval"

METRICS = [
    Metric("class_accuracy", "Class accuracy", "fidelity", "higher", "%",
           "GAN-test: Shmelkov et al. 2018", "images", 1, 100),
    Metric("label_share", "Pixel variance that the label decides", "fidelity", "none", "%",
           "epsilon squared: Kelley 1935", "images, within classes", 1, 100),
    Metric("frechet_distance", "Fréchet distance", "fidelity", "lower", "feature units²",
           "FID: Heusel et al. 2017", "none: it is biased by the number of images", 2),
    Metric("kernel_distance", "Kernel distance", "fidelity", "lower", "MMD²",
           "KID: Bińkowski et al. 2018", "disjoint blocks of 1,000 images", 3),
    Metric("precision", "Precision, whatever the class (k = 5)", "fidelity", "higher", "%",
           "Kynkäänniemi et al. 2019", VARYING, 1, 100),
    Metric("precision_as_asked", "Precision of images classified as asked (k = 5)", "fidelity", "higher", "%",
           "after Kynkäänniemi et al. 2019", VARYING, 1, 100),
    Metric("density", "Density (k = 5)", "fidelity", "near 1", "ratio to real",
           "Naeem et al. 2020", VARYING, 2),
    Metric("sharpness", "Sharpness against real", "fidelity", "near 1", "ratio",
           "variance of the Laplacian: Pech-Pacheco et al. 2000", "images, given the real ones", 2),
    Metric("recall", "Recall (k = 5)", "diversity", "higher", "%",
           "Kynkäänniemi et al. 2019; it falls with n", VARYING, 1, 100),
    Metric("recall_pixels", "Recall in pixels (k = 5)", "diversity", "higher", "%",
           "Kynkäänniemi et al. 2019; it falls with n", VARYING, 1, 100),
    Metric("coverage", "Coverage (k = 5)", "diversity", "higher", "%",
           "Naeem et al. 2020", COVERED, 1, 100),
    Metric("coverage_pixels", "Coverage in pixels (k = 5)", "diversity", "higher", "%",
           "Naeem et al. 2020", COVERED, 1, 100),
    Metric("recall_second", "Recall in a second classifier (k = 5)", "diversity", "higher", "%",
           "Kynkäänniemi et al. 2019; it falls with n", VARYING, 1, 100),
    Metric("coverage_second", "Coverage in a second classifier (k = 5)", "diversity", "higher", "%",
           "Naeem et al. 2020", COVERED, 1, 100),
    Metric("vendi_features_as_asked", "Vendi score, features, of images classified as asked", "diversity",
           "higher", "effective images per class", "Friedman & Dieng 2022",
           "none: resampled sets hold duplicates, which lower it", 2),
    Metric("vendi_pixels_as_asked", "Vendi score, pixels, of images classified as asked", "diversity",
           "higher", "effective images per class", "Friedman & Dieng 2022",
           "none: resampled sets hold duplicates, which lower it", 2),
    Metric("pairwise_ssim_interior", "SSIM of pairs classified as asked", "diversity", "lower", "SSIM",
           "after Odena et al. 2017; of the interior", "disjoint pairs of the same class", 3),
    Metric("pairwise_distance", "Distance of pairs classified as asked", "diversity", "higher",
           "feature units", "this project, after Odena et al. 2017", "disjoint pairs of the same class", 2),
    Metric("authenticity", "Authentic samples", "memorising", "higher", "%",
           "Alaa et al. 2022", "samples, given the training images", 1, 100),
    Metric("gan_train", "GAN-train accuracy", "usefulness", "higher", "%",
           "Shmelkov et al. 2018; CAS: Ravuri & Vinyals 2019", "real test images, given the samples", 1, 100),
    Metric("parzen_log_likelihood", "Parzen log-likelihood", "likelihood", "higher", "nats",
           "Goodfellow et al. 2014; Mirza & Osindero 2014", "real test images, given the samples", 1),
    Metric("picture_change", "Picture change per epoch", "stability", "lower", "% of the grey range",
           "this project", "noise vectors, given the epochs", 2, 100),
    Metric("reading_change", "Pictures classified differently an epoch later", "stability", "lower", "%",
           "this project", "noise vectors, given the epochs", 1, 100),
    Metric("accuracy_change", "Class accuracy change per epoch", "stability", "lower", "% points",
           "this project, on pictures of fixed noise", "none: epochs follow from one another", 1, 100),
    Metric("parameters", "Parameters that draw", "cost", "lower", "thousands",
           "counted", "none: exact", 0, 0.001),
    Metric("multiply_adds", "Multiply-adds to draw an image", "cost", "lower", "millions",
           "counted", "none: exact", 2, 1e-6),
]  # fmt: skip

SUMMARY = ("class_accuracy", "frechet_distance", "recall", "coverage", "gan_train")
"""What says most about a model: the columns of `dvc exp show`, and of logged models in MLflow."""

BY_KEY = {metric.key: metric for metric in METRICS}
