"""The conditional variational autoencoder: network, loss, training epoch, drawing.

Kingma & Welling 2014, "Auto-Encoding Variational Bayes" (arXiv:1312.6114); conditioned on the label as in
Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative
Models". Symbols as there: x an image, y its label, z the latent code, q(z|x, y) = N(mu, exp(logvar)).
"""

from collections.abc import Iterator
from math import ceil
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from condgen import data
from condgen.params import Number, Section
from condgen.randomness import generator
from condgen.training import Mean, Numbers, Progress, init_glorot


class CVAEParams(Section):
    """Section `cvae` of params.yaml."""

    section: ClassVar[str] = "cvae"
    conditional: bool
    hidden: int = Field(ge=1, le=65_536)
    latent_dim: int = Field(ge=1, le=65_536)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: Number = Field(gt=0, le=1)
    beta1: Number = Field(ge=0, lt=1)
    beta2: Number = Field(ge=0, lt=1)


class CVAE(nn.Module):
    """Encoder [x, y] -> hidden, relu -> (mu, logvar); decoder [z, y] -> hidden, relu -> logits of x.

    With `conditional` false both networks see no y: the plain VAE.
    """

    def __init__(self, hidden: int, latent_dim: int, conditional: bool):
        super().__init__()
        self.config = {"hidden": hidden, "latent_dim": latent_dim, "conditional": conditional}
        label = data.CLASSES if conditional else 0
        self.encoder = nn.Linear(data.PIXELS + label, hidden)
        self.mu = nn.Linear(hidden, latent_dim)
        self.logvar = nn.Linear(hidden, latent_dim)
        self.decoder = nn.Linear(latent_dim + label, hidden)
        self.logits = nn.Linear(hidden, data.PIXELS)

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x `[b, 784]` in [0, 1], y one-hot `[b, 10]` -> mu, logvar, each `[b, latent_dim]`."""
        h = F.relu(self.encoder(self._with_label(x, y)))
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """z `[b, latent_dim]`, y one-hot `[b, 10]` -> logits of the pixels `[b, 784]`."""
        return self.logits(F.relu(self.decoder(self._with_label(z, y))))

    def _with_label(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], dim=1) if self.config["conditional"] else x


def build(p: CVAEParams, seed: int) -> CVAE:
    """A fresh network on the CPU, initialised from the seed."""
    model = CVAE(p.hidden, p.latent_dim, p.conditional)
    init_glorot(model, generator(seed, "cvae/init"))
    return model


def reconstruction(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z, y) with Bernoulli pixels: sum over pixels of the binary cross-entropy.

    logits `[b, 784]`, x `[b, 784]` in [0, 1] -> `[b]`, nats per image. For grey pixels it is the usual
    surrogate, not a likelihood. (Kingma & Welling 2014, appendix C.1)
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) = 0.5 * sum(exp(logvar) + mu^2 - 1 - logvar).

    mu, logvar `[b, latent_dim]` -> `[b]`, nats per image. (Kingma & Welling 2014, appendix B)
    """
    return 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum(dim=1)


def negative_elbo(model: CVAE, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """(reconstruction, KL), each `[b]`, nats per image; their sum is -ELBO with one sample of z.

    z = mu + exp(logvar / 2) * eps, the reparameterisation. x `[b, 784]` in [0, 1], y one-hot `[b, 10]`,
    eps `[b, latent_dim]` from N(0, I). (Kingma & Welling 2014, equation 10)
    """
    mu, logvar = model.encode(x, y)
    z = mu + torch.exp(logvar / 2) * eps
    return reconstruction(model.decode(z, y), x), kl_divergence(mu, logvar)


def train_step(model: CVAE, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, eps: Tensor) -> dict:
    """One step on one batch. Returns detached means over the batch, nats per image."""
    reconstructions, kl = negative_elbo(model, x, y, eps)
    loss = (reconstructions + kl).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {
        "loss": loss.detach(),
        "reconstruction": reconstructions.detach().mean(),
        "kl": kl.detach().mean(),
    }


def train(
    model: CVAE, split: data.Split, p: CVAEParams, seed: int, progress: Progress
) -> Iterator[tuple[int, Numbers]]:
    """Trains an epoch each time it is asked; yields (epoch, numbers), all in nats per image.

    Keys: {train,val}_{loss,reconstruction,kl}. Training values are means over the epoch, while the
    weights still move; validation values belong to the weights at its end.
    """
    device = split.train.x.device
    optimizer = torch.optim.Adam(model.parameters(), lr=p.lr, betas=(p.beta1, p.beta2), fused=True)
    y_train = data.one_hot(split.train.y)
    count = ceil(len(split.train) / p.batch_size)
    for epoch in range(1, p.epochs + 1):
        shuffle = generator(seed, "cvae/shuffle", epoch, device)
        noise = generator(seed, "cvae/noise", epoch, device)
        batches = data.batches(split.train.x, y_train, p.batch_size, shuffle)
        mean = Mean()
        for x, y in progress.batches(epoch, batches, count):
            eps = torch.randn(len(x), p.latent_dim, generator=noise, device=device)
            mean.add(train_step(model, optimizer, x, y, eps), len(x))
        yield epoch, mean.read("train_") | validate(model, split.validation, seed)


@torch.no_grad()
def validate(model: CVAE, images: data.Images, seed: int) -> Numbers:
    """val_{loss,reconstruction,kl}, nats per image, with the same noise after every epoch."""
    device = images.x.device
    noise = generator(seed, "cvae/validation", device=device)
    eps = torch.randn(len(images), model.config["latent_dim"], generator=noise, device=device)
    reconstructions, kl = negative_elbo(model, images.x, data.one_hot(images.y), eps)
    mean = Mean()
    values = {"loss": reconstructions + kl, "reconstruction": reconstructions, "kl": kl}
    mean.add({name: value.mean() for name, value in values.items()}, len(images))
    return mean.read("val_")


@torch.no_grad()
def draw(model: CVAE, z: Tensor, labels: Tensor) -> Tensor:
    """Images for codes z `[n, latent_dim]` and labels `[n]`: the decoder's mean, `[n, 784]` in [0, 1]."""
    return model.decode(z, data.one_hot(labels)).sigmoid()
