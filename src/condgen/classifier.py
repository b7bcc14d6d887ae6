"""The yardstick: a small convolutional network that reads digits, and in whose features sets are compared.

The layout (two convolutions with pooling, a hidden layer) is LeNet's: LeCun et al. 1998, "Gradient-based
learning applied to document recognition". The schedule is one cycle: Smith & Topin 2018,
"Super-Convergence".
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import ceil
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from condgen import data
from condgen.params import Number, Section
from condgen.randomness import dropout_mask, generator
from condgen.training import Mean, Numbers, Progress, State, init_glorot

BATCH = 250  # images at once where nothing is trained: little memory, and in the processor's cache


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


class OneCycleAdam:
    """PyTorch's Adam under PyTorch's one-cycle schedule, which also moves beta1; as a training.Optimizer."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, steps: int):
        self.adam = torch.optim.Adam(parameters, lr=lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.adam, lr, total_steps=steps)

    def zero_grad(self) -> None:
        self.adam.zero_grad()

    def step(self) -> None:
        self.adam.step()
        self.schedule.step()

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and steps of each parameter ("0.exp_avg", ...), and the schedule's place."""
        moments = self.adam.state_dict()["state"]
        named = {f"{i}.{name}": value for i, row in moments.items() for name, value in row.items()}
        return named | {"steps": torch.tensor(self.schedule.last_epoch)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` returned, from any device."""
        own, rows = self.adam.state_dict(), {}
        for i, weight in enumerate(self.adam.param_groups[0]["params"]):
            rows[i] = {"step": state[f"{i}.step"]}
            for name in ("exp_avg", "exp_avg_sq"):
                # In the weight's own memory format: the fused kernel walks both in the order of memory.
                rows[i][name] = torch.empty_like(weight).copy_(state[f"{i}.{name}"])
        self.adam.load_state_dict(own | {"state": rows})
        # To the step before, and from there by itself: the schedule sets lr and beta1 only when it moves.
        steps = int(state["steps"])
        self.schedule.load_state_dict({"last_epoch": steps - 1, "_step_count": steps})
        self.schedule.step()


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
        mean = Mean()
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
    for epoch, numbers in train(state, replace(split, train=drawn), p, progress):
        progress.line(epoch, numbers)
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
