"""The usual PyTorch loop, as in tutorials, on our networks: the baseline of `make bench`.

torchvision's data set, ToTensor, a DataLoader and torch.optim.Adam with their defaults, functional dropout,
`loss.item()` after every step. `epoch()` trains one epoch and returns its seconds.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from condgen.models import cgan, classifier, cvae
from specs import DIGITS


def loader(
    root: Path, skip: int, count: int, batch_size: int, drop_last: bool = False, centred: bool = False
) -> DataLoader:
    steps = [transforms.ToTensor()] + [transforms.Normalize(0.5, 0.5)] * centred
    images = datasets.MNIST(str(root), train=True, transform=transforms.Compose(steps))
    part = Subset(images, range(skip, skip + count))
    return DataLoader(part, batch_size, shuffle=True, drop_last=drop_last)


def average(model: nn.Module, p: Any) -> AveragedModel | None:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(p.ema)) if p.ema else None


class CVAE:
    """Any of the CVAE's networks and priors."""

    def __init__(self, p: cvae.CVAEParams, root: Path, skip: int, count: int):
        self.p, self.model = p, cvae.build(p, DIGITS, 0)
        self.optimizer = torch.optim.Adam(self.model.parameters(), p.lr, (p.beta1, p.beta2), p.epsilon)
        self.average = average(self.model, p)
        self.loader = loader(root, skip, count, p.batch_size)

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        for x, labels in self.loader:
            x, y = x.view(len(x), -1), F.one_hot(labels, 10).float()
            mu, logvar = self.model.encode(x, y)
            z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
            logits = self.model.decode(z, y)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
            kl = self.model.prior.kl(mu, logvar, z, y).mean()
            loss = reconstruction + self.p.kl_weight * kl
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.model)
            total += loss.item()
        return time.perf_counter() - start


class CGAN:
    """The article's multilayer perceptrons with dropout, or any networks without."""

    def __init__(self, p: cgan.CGANParams, root: Path, skip: int, count: int):
        self.p, self.model = p, cgan.build(p, DIGITS, 0)
        adam = {"lr": p.lr, "betas": (p.beta1, p.beta2), "eps": p.epsilon}
        self.g_optimizer = torch.optim.Adam(self.model.G.parameters(), **adam)
        self.d_optimizer = torch.optim.Adam(self.model.D.parameters(), **adam)
        self.average = average(self.model, p)
        self.loader = loader(root, skip, count, p.batch_size, drop_last=True, centred=True)

    def hidden(self, mlp: cgan.MLP, h: torch.Tensor) -> torch.Tensor:
        for layer in (mlp.hidden1, mlp.hidden2):
            h = F.dropout(F.leaky_relu(layer(h), self.p.leak), self.p.dropout)
        return h

    def draw(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        G = self.model.G
        if G.hidden is None:
            return self.model.generate(z, y)
        return torch.tanh(G.out(self.hidden(G.hidden, torch.cat([z, y], dim=1))))

    def judge(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        D = self.model.D
        if not isinstance(D.features, cgan.MLP):
            return self.model.discriminate(x, y)
        return D.out(self.hidden(D.features, torch.cat([x, y], dim=1))).squeeze(1)

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        loss, smooth = self.p.loss, self.p.smooth
        for x, labels in self.loader:
            x, y = x.view(len(x), -1), F.one_hot(labels, 10).float()
            drawn = self.draw(torch.randn(len(x), self.p.latent_dim), y)
            real, fake = self.judge(x, y), self.judge(drawn.detach(), y)
            d_loss = cgan.discriminator_loss(real, fake, loss, smooth).mean()
            self.d_optimizer.zero_grad()
            d_loss.backward()
            self.d_optimizer.step()
            g_loss = cgan.generator_loss(self.judge(drawn, y), loss).mean()
            self.g_optimizer.zero_grad()
            g_loss.backward()
            self.g_optimizer.step()
            if self.average:
                self.average.update_parameters(self.model)
            total += d_loss.item() + g_loss.item()
        return time.perf_counter() - start


class Classifier:
    def __init__(self, p: classifier.ClassifierParams, root: Path, skip: int, count: int):
        self.p = p
        self.model = classifier.build(p, DIGITS, 0).to(memory_format=torch.contiguous_format)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=p.lr)
        self.loader = loader(root, skip, count, p.batch_size)

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        m = self.model
        for x, labels in self.loader:
            h = F.max_pool2d(F.relu(m.conv1(x)), 2)
            h = F.max_pool2d(F.relu(m.conv2(h)), 2)
            features = F.relu(m.feature_layer(h.flatten(1)))
            loss = F.cross_entropy(m.logits(F.dropout(features, self.p.dropout)), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return time.perf_counter() - start
