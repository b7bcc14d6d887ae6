"""The conditional generative adversarial network: networks, losses, training step, drawing.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv:1411.1784), after Goodfellow et al.
2014, "Generative Adversarial Nets" (arXiv:1406.2661). The papers' symbols: x an image, y its label, z noise,
G the generator, D the discriminator. Inside the networks pixels are in [-1, 1], the range of tanh.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.base.random import dropout_mask, generator
from condgen.base.sections import Section
from condgen.datasets import data
from condgen.models.layers import init_glorot

Masks = tuple[Tensor, Tensor]
"""Dropout factors of an MLP's two hidden layers, each `[b, hidden]`."""


class CGANParams(Section):
    """Section `cgan` of params.yaml."""

    section: ClassVar[str] = "cgan"
    one_cycle: ClassVar[bool] = False
    conditional: bool
    hidden: int = Field(ge=1, le=65_536)
    latent_dim: int = Field(ge=1, le=65_536)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: float = Field(gt=0, le=1)
    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    epsilon: float = Field(gt=0, le=1)
    dropout: float = Field(ge=0, le=0.95)
    leak: float = Field(ge=0, lt=1)
    smooth: float = Field(ge=0, lt=0.5)
    generator_loss: Literal["non-saturating", "min-max"]


class MLP(nn.Module):
    """Two hidden layers, each with leaky ReLU and dropout, and a linear output layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, leak: float):
        super().__init__()
        self.leak = leak
        self.hidden1 = nn.Linear(inputs, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, h: Tensor, masks: Masks | None) -> Tensor:
        """h `[b, inputs]` -> `[b, outputs]`; no dropout if masks is None."""
        for i, layer in enumerate((self.hidden1, self.hidden2)):
            h = F.leaky_relu(layer(h), self.leak)
            if masks is not None:
                h = h * masks[i]
        return self.out(h)


class CGAN(nn.Module):
    """G: [z, y] -> pixels by tanh. D: [x, y] -> logit of "real". Unconditional: neither sees y."""

    def __init__(self, hidden: int, latent_dim: int, conditional: bool, leak: float):
        super().__init__()
        self.config = {"hidden": hidden, "latent_dim": latent_dim, "conditional": conditional, "leak": leak}
        label = data.CLASSES if conditional else 0
        self.G = MLP(latent_dim + label, hidden, data.PIXELS, leak)
        self.D = MLP(data.PIXELS + label, hidden, 1, leak)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """G and D, each with its own optimizer."""
        return {"G": self.G, "D": self.D}

    def generate(self, z: Tensor, y: Tensor, masks: Masks | None = None) -> Tensor:
        """z `[b, latent_dim]`, y one-hot `[b, 10]` -> images `[b, 784]` in [-1, 1]."""
        return torch.tanh(self.G(self.with_label(z, y), masks))

    def discriminate(self, x: Tensor, y: Tensor, masks: Masks | None = None) -> Tensor:
        """x `[b, 784]` in [-1, 1], y one-hot `[b, 10]` -> logits `[b]`; D(x) = sigmoid(logit)."""
        return self.D(self.with_label(x, y), masks).squeeze(1)

    def with_label(self, x: Tensor, y: Tensor) -> Tensor:
        """A network's input: x `[b, n]` concatenated with y `[b, 10]`, or x alone if unconditional."""
        return torch.cat([x, y], dim=1) if self.config["conditional"] else x


Params, Network = CGANParams, CGAN


def build(p: CGANParams, seed: int) -> CGAN:
    """Fresh networks on the CPU, initialised from the seed."""
    model = CGAN(p.hidden, p.latent_dim, p.conditional, p.leak)
    init_glorot(model, generator(seed, "cgan/init"))
    return model


def discriminator_loss(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    """-log D(x) - log(1 - D(G(z|y))), with the target of real images lowered to 1 - smooth.

    real, fake: logits `[b]` -> `[b]`, nats per pair of images. (Mirza & Osindero 2014, equation 2;
    one-sided label smoothing: Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.4)
    """
    target = torch.full_like(real, 1 - smooth)
    on_real = F.binary_cross_entropy_with_logits(real, target, reduction="none")
    return on_real + F.softplus(fake)  # -log(1 - sigmoid(l)) = softplus(l)


def generator_loss(fake: Tensor, form: str) -> Tensor:
    """What G minimises: -log D(G(z|y)), non-saturating; or log(1 - D(G(z|y))), as in the min-max game.

    fake: logits `[b]` -> `[b]`, nats per image. (Goodfellow et al. 2014, section 3 and equation 1)
    """
    return -F.softplus(fake) if form == "min-max" else F.softplus(-fake)


def train_step(
    model: CGAN,
    optimizers: Mapping[str, Optimizer],
    x: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    p: CGANParams,
) -> dict[str, Tensor]:
    """One discriminator step, then one generator step against the updated discriminator.

    x `[b, 784]` in [0, 1], labels `[b]`. Returns for each image, `[b]`, detached: d_loss (nats per pair),
    g_loss (nats per image), and the probabilities of "real", d_real = D(x) and d_fake = D(G(z|y)), from
    before the discriminator's step. (Goodfellow et al. 2014, algorithm 1, with k = 1)
    """
    x, y = 2 * x - 1, data.one_hot(labels)
    z, for_g, for_d, for_dg = draw_noise(p, len(x), noise)
    fake = model.generate(z, y, for_g)

    both = model.discriminate(torch.cat([x, fake.detach()]), torch.cat([y, y]), for_d)
    real_logit, fake_logit = both.chunk(2)
    d_loss = discriminator_loss(real_logit, fake_logit, p.smooth)
    optimizers["D"].zero_grad()
    d_loss.mean().backward()
    optimizers["D"].step()

    g_loss = generator_loss(model.discriminate(fake, y, for_dg), p.generator_loss)
    optimizers["G"].zero_grad()
    g_loss.mean().backward(inputs=list(model.G.parameters()))  # D's gradients are not needed here
    optimizers["G"].step()
    return {
        "d_loss": d_loss.detach(),
        "g_loss": g_loss.detach(),
        "d_real": real_logit.detach().sigmoid(),
        "d_fake": fake_logit.detach().sigmoid(),
    }


def draw_noise(p: CGANParams, b: int, noise: torch.Generator) -> tuple[Tensor, Masks, Masks, Masks]:
    """The noise of one step on b images: z `[b, latent_dim]`, and three pairs of dropout masks.

    The masks are for G, for D on real and generated images (`[2 * b, hidden]`), and for D in G's step.
    """
    z = torch.randn(b, p.latent_dim, generator=noise, device=noise.device)
    masks = dropout_mask(p.dropout, (8 * b, p.hidden), noise)  # one call is faster
    for_g, for_d, for_dg = (part.chunk(2) for part in masks.split([2 * b, 4 * b, 2 * b]))
    return z, for_g, for_d, for_dg


@torch.no_grad()
def draw(model: CGAN, z: Tensor, labels: Tensor) -> Tensor:
    """Images for noise z `[n, latent_dim]` and labels `[n]`, without dropout: `[n, 784]` in [0, 1]."""
    return (model.generate(z, data.one_hot(labels)) + 1) / 2
