"""The classifier: a small convolutional network that classifies images; the metrics use its features.

The layout (two convolutions with pooling, a hidden layer) is LeNet's: LeCun et al. 1998, "Gradient-based
learning applied to document recognition". It judges both generators and is trained on real images only.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.base.random import dropout_mask, generator
from condgen.base.sections import Section
from condgen.datasets import data
from condgen.datasets.spec import Spec
from condgen.models.layers import config, init_glorot

BATCH = 100  # images at once for inference: little memory, which fits the processor's cache
SMALLEST = 16  # pixels: smaller images get a rim of zeros, because the layers would leave nothing of them


class ClassifierNetwork(Section):
    """What shapes the network: kept in config.json beside the weights."""

    section: ClassVar[str] = "classifier"
    channels: int = Field(ge=1, le=4096)
    features: int = Field(ge=1, le=65_536)


class ClassifierParams(ClassifierNetwork):
    """Section `classifier` of params.yaml."""

    # Adam's defaults (Kingma & Ba 2015); the one-cycle schedule varies lr and beta1.
    lr_schedule: ClassVar[str] = "one-cycle"
    beta1: ClassVar[float] = 0.9
    beta2: ClassVar[float] = 0.999
    epsilon: ClassVar[float] = 1e-8
    ema: ClassVar[float] = 0
    seed: int = Field(ge=0, lt=2**32)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: float = Field(gt=0, le=1)
    dropout: float = Field(ge=0, le=0.95)
    shift: int = Field(ge=0, le=16)


class Classifier(nn.Module):
    """Two 3x3 convolutions, each with ReLU and 2x2 max pooling; a feature layer with ReLU; logits."""

    def __init__(self, spec: Spec, p: ClassifierNetwork):
        super().__init__()
        self.spec, self.config = spec, config(spec, ClassifierNetwork, p)
        side = max(spec.side, SMALLEST)
        self.rim = (side - spec.side) // 2, (side - spec.side + 1) // 2
        left = ((side - 2) // 2 - 2) // 2  # of the side, after two convolutions, each with pooling
        self.conv1 = nn.Conv2d(spec.channels, p.channels, 3)
        self.conv2 = nn.Conv2d(p.channels, 2 * p.channels, 3)
        self.feature_layer = nn.Linear(2 * p.channels * left**2, p.features)
        self.logits = nn.Linear(p.features, spec.count)
        # On a CPU, oneDNN runs these convolutions 1.5 times as fast in channels-last memory format.
        self.to(memory_format=torch.channels_last)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """One optimizer trains the whole network."""
        return {"model": self}

    def features(self, x: Tensor) -> Tensor:
        """x `[b, d]` in [0, 1] -> `[b, features]`, at least 0."""
        h = F.pad(self.spec.maps(x), 2 * self.rim).contiguous(memory_format=torch.channels_last)
        h = F.max_pool2d(F.relu(self.conv1(h)), 2)  # MNIST: [b, channels, 13, 13]
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)  # MNIST: [b, 2 channels, 5, 5]
        return F.relu(self.feature_layer(h.flatten(1)))


Params, Architecture, Network = ClassifierParams, ClassifierNetwork, Classifier


def build(p: ClassifierParams, spec: Spec, seed: int) -> Classifier:
    """A fresh network on the CPU, initialised from the seed."""
    model = Classifier(spec, p)
    init_glorot(model, generator(seed, "classifier/init"))
    return model


def train_step(
    model: Classifier,
    optimizers: Mapping[str, Optimizer],
    x: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    p: ClassifierParams,
) -> dict[str, Tensor]:
    """One step on the cross-entropy, with dropout on the features and, if asked for, shifted images.

    x `[b, d]` in [0, 1], labels `[b]`. Returns each image's loss, `[b]`, nats, detached.
    """
    if p.shift:
        x = shifted(x, p.shift, model.spec, noise)
    features = model.features(x)
    logits = model.logits(features * dropout_mask(p.dropout, tuple(features.shape), noise))
    loss = F.cross_entropy(logits, labels, reduction="none")
    optimizers["model"].zero_grad()
    loss.mean().backward()
    optimizers["model"].step()
    return {"loss": loss.detach()}


def shifted(x: Tensor, most: int, spec: Spec, noise: torch.Generator) -> Tensor:
    """Each image of x `[b, d]` moved by -most to most pixels along both axes; its border fills what is bare.

    Augmentation by translation, as in Simard et al. 2003, "Best Practices for Convolutional Neural Networks".
    """
    maps = F.pad(spec.maps(x), 4 * (most,), mode="replicate")
    starts = torch.randint(2 * most + 1, (2, len(x), 1), generator=noise, device=x.device)
    rows, columns = starts + torch.arange(spec.side, device=x.device)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    moved = maps[image, :, rows[:, :, None], columns[:, None, :]]  # [b, side, side, channels]
    return moved.permute(0, 3, 1, 2).reshape(len(x), -1)


def validate(model: Classifier, images: data.Images, seed: int) -> dict[str, float]:
    """val_loss (cross-entropy, nats per image) and val_accuracy in [0, 1]; `seed` is not used."""
    loss, accuracy = score(model, images)
    return {"val_loss": loss, "val_accuracy": accuracy}


def score(model: Classifier, images: data.Images) -> tuple[float, float]:
    """(cross-entropy in nats per image, accuracy in [0, 1]) on labelled images."""
    _, logits = classify(model, images.x)
    loss = F.cross_entropy(logits, images.y)
    return float(loss), int((logits.argmax(dim=1) == images.y).sum()) / len(images)


@torch.no_grad()
def classify(model: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Images x `[n, d]` in [0, 1] -> features `[n, f]` and logits `[n, classes]`."""
    features = torch.cat([model.features(part) for part in x.split(BATCH)])
    return features, model.logits(features)
