"""The yardstick: a small convolutional network that reads digits, and in whose features sets are compared.

The layout (two convolutions with pooling, a hidden layer) is LeNet's: LeCun et al. 1998, "Gradient-based
learning applied to document recognition". The schedule is one cycle: Smith & Topin 2018,
"Super-Convergence".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil, cos, pi
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from condgen import data
from condgen.adam import Adam
from condgen.params import Number, Section
from condgen.randomness import dropout_mask, generator
from condgen.training import Mean, Numbers, Progress, State, init_glorot, watch

BATCH = 100  # images at once where nothing is trained: little memory, and in the processor's cache


class ClassifierParams(Section):
    """Section `classifier` of params.yaml."""

    section: ClassVar[str] = "classifier"
    seed: int = Field(ge=0, lt=2**32)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: Number = Field(gt=0, le=1)
    channels: int = Field(ge=1, le=4096)
    features: int = Field(ge=1, le=65_536)
    dropout: Number = Field(ge=0, le=0.95)


class Classifier(nn.Module):
    """Two 3x3 convolutions, each relu and 2x2 max pooling; a relu feature layer; ten logits."""

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.config = {"channels": channels, "features": features}
        self.conv1 = nn.Conv2d(1, channels, 3)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3)
        self.feature_layer = nn.Linear(2 * channels * 5 * 5, features)
        self.logits = nn.Linear(features, data.CLASSES)
        # On a CPU, oneDNN runs these convolutions 1.5 times as fast with channels last.
        self.to(memory_format=torch.channels_last)

    def features(self, x: Tensor) -> Tensor:
        """x `[b, 784]` in [0, 1] -> `[b, features]`, at least 0."""
        h = x.view(-1, 1, data.SIDE, data.SIDE).contiguous(memory_format=torch.channels_last)
        h = F.max_pool2d(F.relu(self.conv1(h)), 2)  # [b, channels, 13, 13]
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)  # [b, 2 channels, 5, 5]
        return F.relu(self.feature_layer(h.flatten(1)))


def build(p: ClassifierParams) -> Classifier:
    """A fresh network on the CPU, initialised from the section's own seed."""
    model = Classifier(p.channels, p.features)
    init_glorot(model, generator(p.seed, "classifier/init"))
    return model


@dataclass(frozen=True)
class AdamDefaults:
    """Adam's parameters but for the step size, as Kingma & Ba 2015 have them; the schedule moves beta1."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def one_cycle(step: int, steps: int, peak: float) -> tuple[float, float]:
    """(lr, beta1) of step 0 to steps - 1. lr rises to `peak` over 30 % of them and falls to nearly 0, along
    cosines, and beta1 goes the other way: 0.95, 0.85, 0.95. (Smith & Topin 2018; as PyTorch's OneCycleLR)
    """
    top, last = 0.3 * steps - 1, steps - 1
    if step <= top:
        share, lrs, betas = step / top, (peak / 25, peak), (0.95, 0.85)
    else:
        share, lrs, betas = (step - top) / (last - top), (peak, peak / 25e4), (0.85, 0.95)
    lr, beta1 = (end + (begin - end) / 2 * (1 + cos(pi * share)) for begin, end in (lrs, betas))
    return lr, beta1


class OneCycleAdam(Adam):
    """Adam whose step size and beta1 follow one cycle of `steps` steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], peak: float, steps: int):
        super().__init__(parameters, AdamDefaults(peak))
        self.peak, self.steps = peak, steps
        self.taken = 0  # as `t`, which on a GPU would have to be waited for

    def step(self) -> None:
        """One update of all parameters."""
        self.lr, self.beta1 = one_cycle(self.taken, self.steps, self.peak)
        self.taken += 1
        super().step()

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` returned, from any device."""
        super().load(state)
        self.taken = int(self.t)


def start(p: ClassifierParams, images: int, device: str | torch.device = "cpu") -> State:
    """What training on that many images starts from."""
    model = build(p).to(device)
    # One step more than are taken: the last would have a step size of nearly 0.
    steps = p.epochs * ceil(images / p.batch_size) + 1
    return State(model, {"model": OneCycleAdam(model.parameters(), p.lr, steps)})


def train(
    state: State, split: data.Split, p: ClassifierParams, progress: Progress
) -> Iterator[tuple[int, Numbers]]:
    """Trains the epochs that `state` lacks, one each time it is asked; yields (epoch, numbers).

    Keys: train_loss (cross-entropy, nats per image, with dropout), val_loss, val_accuracy in [0, 1].
    """
    images, device = split.train, split.train.x.device
    model, optimizer = state.model, state.optimizers["model"]
    count = ceil(len(images) / p.batch_size)
    for epoch in range(state.epoch + 1, p.epochs + 1):
        shuffle = generator(p.seed, "classifier/shuffle", epoch, device)
        drop = generator(p.seed, "classifier/dropout", epoch, device)
        mean = Mean(len(images))
        batches = data.batches(images.x, images.y, p.batch_size, shuffle)
        for x, y in progress.batches(epoch, batches, count):
            features = model.features(x)
            logits = model.logits(features * dropout_mask(p.dropout, tuple(features.shape), drop))
            loss = F.cross_entropy(logits, y, reduction="none")
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            mean.add({"loss": loss.detach()})
        loss, accuracy = score(model, split.validation)
        yield epoch, mean.read("train_") | {"val_loss": loss, "val_accuracy": accuracy}


def gan_train(
    p: ClassifierParams, epochs: int, drawn: data.Images, split: data.Split, progress: Progress
) -> Tensor:
    """Which real test images a classifier reads rightly that was trained on samples only: bool `[n]`.

    GAN-train: Shmelkov et al. 2018, "How good is my GAN?"; the classification accuracy score of Ravuri &
    Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models". It falls when samples
    are unlike real images, and when they are all alike. Same network as the yardstick, from scratch.
    """
    p = p.model_copy(update={"epochs": epochs})
    state = start(p, len(drawn), drawn.x.device)
    for _ in watch(train(state, replace(split, train=drawn), p, progress), progress):
        pass
    _, logits = read(state.model, split.test.x)
    return logits.argmax(dim=1) == split.test.y


def score(model: Classifier, images: data.Images) -> tuple[float, float]:
    """(cross-entropy in nats per image, accuracy in [0, 1]) on labelled images."""
    _, logits = read(model, images.x)
    loss = F.cross_entropy(logits, images.y)
    return float(loss), int((logits.argmax(dim=1) == images.y).sum()) / len(images)


@torch.no_grad()
def read(model: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the classifier makes of images x `[n, 784]` in [0, 1]: features `[n, f]`, logits `[n, 10]`."""
    features = torch.cat([model.features(part) for part in x.split(BATCH)])
    return features, model.logits(features)
