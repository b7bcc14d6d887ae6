"""The usual PyTorch loop, as in tutorials, on our networks: the baseline of `make bench`.

torchvision's data set, ToTensor, a DataLoader and torch.optim.Adam with their defaults, functional dropout,
`loss.item()` after every step. `epoch()` trains one epoch and returns its seconds.
"""

import time
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from condgen.models import cgan, classifier, cvae
from specs import DIGITS


def loader(
    root: Path, skip: int, batch_size: int, drop_last: bool = False, centred: bool = False
) -> DataLoader:
    steps = [transforms.ToTensor()] + [transforms.Normalize(0.5, 0.5)] * centred
    images = datasets.MNIST(str(root), train=True, transform=transforms.Compose(steps))
    return DataLoader(Subset(images, range(skip, len(images))), batch_size, shuffle=True, drop_last=drop_last)


class CVAE:
    def __init__(self, p: cvae.CVAEParams, root: Path, skip: int):
        self.model = cvae.build(p, DIGITS, 0)
        self.optimizer = torch.optim.Adam(self.model.parameters(), p.lr, (p.beta1, p.beta2), p.epsilon)
        self.loader = loader(root, skip, p.batch_size)

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        for x, labels in self.loader:
            x, y = x.view(len(x), -1), F.one_hot(labels, 10).float()
            mu, logvar = self.model.encode(x, y)
            z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
            logits = self.model.decode(z, y)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
            kl = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum() / len(x)
            loss = reconstruction + kl
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return time.perf_counter() - start


class CGAN:
    def __init__(self, p: cgan.CGANParams, root: Path, skip: int):
        self.p, self.model = p, cgan.build(p, DIGITS, 0)
        adam = {"lr": p.lr, "betas": (p.beta1, p.beta2), "eps": p.epsilon}
        self.g_optimizer = torch.optim.Adam(self.model.G.parameters(), **adam)
        self.d_optimizer = torch.optim.Adam(self.model.D.parameters(), **adam)
        self.loader = loader(root, skip, p.batch_size, drop_last=True, centred=True)

    def run(self, network: cgan.G | cgan.D, h: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = torch.cat([h, y], dim=1)
        mlp = network.hidden if isinstance(network, cgan.G) else network.features
        for layer in (mlp.hidden1, mlp.hidden2):
            h = F.dropout(F.leaky_relu(layer(h), self.p.leak), self.p.dropout)
        return network.out(h)

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        G, D = self.model.G, self.model.D
        real, fake = torch.full((self.p.batch_size, 1), 1 - self.p.smooth), torch.zeros(self.p.batch_size, 1)
        for x, labels in self.loader:
            x, y = x.view(len(x), -1), F.one_hot(labels, 10).float()
            drawn = torch.tanh(self.run(G, torch.randn(len(x), self.p.latent_dim), y))
            d_loss = F.binary_cross_entropy_with_logits(self.run(D, x, y), real)
            d_loss = d_loss + F.binary_cross_entropy_with_logits(self.run(D, drawn.detach(), y), fake)
            self.d_optimizer.zero_grad()
            d_loss.backward()
            self.d_optimizer.step()
            g_loss = F.binary_cross_entropy_with_logits(self.run(D, drawn, y), torch.ones_like(real))
            self.g_optimizer.zero_grad()
            g_loss.backward()
            self.g_optimizer.step()
            total += d_loss.item() + g_loss.item()
        return time.perf_counter() - start


class Classifier:
    def __init__(self, p: classifier.ClassifierParams, root: Path, skip: int):
        self.p = p
        self.model = classifier.build(p, DIGITS, 0).to(memory_format=torch.contiguous_format)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=p.lr)
        self.loader = loader(root, skip, p.batch_size)

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
