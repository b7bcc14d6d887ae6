"""The conditional generative adversarial network: networks, losses, training step, drawing.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv:1411.1784), after Goodfellow et al.
2014, "Generative Adversarial Nets" (arXiv:1406.2661). The papers' symbols: x an image, y its label, z noise,
G the generator, D the discriminator. Inside the networks pixels are in [-1, 1], the range of tanh.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from condgen.base.random import dropout_mask, generator, seeded
from condgen.base.sections import LrSchedule, Section
from condgen.datasets.spec import Spec
from condgen.models.layers import Down, Up, config, init_glorot, quarter

STATISTICS_BATCH = 100  # images at once when the statistics of batch normalisation are computed anew
Masks = tuple[Tensor, Tensor]
"""Dropout factors of an MLP's two hidden layers, each `[b, hidden]`."""


class CGANNetwork(Section):
    """What shapes the networks: kept in config.json beside the weights."""

    section: ClassVar[str] = "cgan"
    conditional: bool
    conditioning: Literal["concat", "projection"]
    network: Literal["mlp", "conv"]
    hidden: int = Field(ge=1, le=65_536)
    channels: int = Field(ge=1, le=4096)
    head: Literal["sum", "dense"]
    latent_dim: int = Field(ge=1, le=65_536)
    leak: float = Field(ge=0, lt=1)
    spectral_norm: bool

    @model_validator(mode="after")
    def _conditions(self) -> "CGANNetwork":
        if self.conditioning == "projection" and not self.conditional:
            raise ValueError("cgan.conditioning is 'projection', which needs cgan.conditional to be true")
        return self


class CGANParams(CGANNetwork):
    """Section `cgan` of params.yaml."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: float = Field(gt=0, le=1)
    lr_ratio: float = Field(gt=0, le=1000)
    lr_schedule: LrSchedule
    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    epsilon: float = Field(gt=0, le=1)
    ema: float = Field(ge=0, lt=1)
    dropout: float = Field(ge=0, le=0.95)
    loss: Literal["non-saturating", "min-max", "hinge", "relativistic"]
    smooth: float = Field(ge=0, lt=0.5)
    r1: float = Field(ge=0, le=1000)
    r2: float = Field(ge=0, le=1000)

    @model_validator(mode="after")
    def _regularises(self) -> "CGANParams":
        if self.network == "conv" and self.dropout:
            raise ValueError(f"cgan.dropout is {self.dropout}, but must be 0 with cgan.network conv")
        return self

    def step_size(self, part: str) -> float:
        """G's is lr, D's is lr_ratio times as large.

        Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
        Equilibrium" (arXiv:1706.08500).
        """
        return self.lr * (self.lr_ratio if part == "D" else 1)


class MLP(nn.Module):
    """Two hidden layers, each with leaky ReLU and dropout: the article's, for G and for D."""

    def __init__(self, inputs: int, hidden: int, leak: float):
        super().__init__()
        self.leak = leak
        self.hidden1 = nn.Linear(inputs, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, masks: Masks | None) -> Tensor:
        """h `[b, inputs]` -> `[b, hidden]`; no dropout if masks is None."""
        for i, layer in enumerate((self.hidden1, self.hidden2)):
            h = F.leaky_relu(layer(h), self.leak)
            if masks is not None:
                h = h * masks[i]
        return h


class G(nn.Module):
    """[z, y] -> pixels by tanh. Convolutions have batch normalisation (Ioffe & Szegedy 2015), unlike D's."""

    def __init__(self, inputs: int, spec: Spec, hidden: int, leak: float, channels: int):
        """channels: of the last hidden convolution; 0 for the MLP."""
        super().__init__()
        self.hidden = None if channels else MLP(inputs, hidden, leak)
        self.out = (
            Up(inputs, spec, channels, nn.ReLU, nn.BatchNorm2d)
            if channels
            else nn.Linear(hidden, spec.pixels)
        )

    def forward(self, h: Tensor, masks: Masks | None = None) -> Tensor:
        """h `[b, inputs]` -> `[b, d]` in [-1, 1]."""
        return torch.tanh(self.out(h if self.hidden is None else self.hidden(h, masks)))


class D(nn.Module):
    """An image and its label -> logit of "real". Concatenation: of [x, y]. Projection: as in `forward`."""

    def __init__(self, labels: int, spec: Spec, p: CGANNetwork):
        """labels: length of y, 0 if unconditional."""
        super().__init__()
        projection = p.conditioning == "projection"
        self.leak, self.concat, self.convolutional = (
            p.leak,
            labels > 0 and not projection,
            p.network == "conv",
        )
        beside, width = labels if self.concat else 0, p.hidden
        self.features: Down | MLP
        self.dense = None
        if not self.convolutional:
            self.features = MLP(spec.pixels + beside, p.hidden, p.leak)
        else:
            self.features = Down(spec, p.channels, lambda: nn.LeakyReLU(p.leak), maps=beside)
            maps = 4 * p.channels
            if p.head == "dense":
                self.dense = nn.Linear(maps * quarter(spec) ** 2, p.hidden)
            else:
                width = maps
        self.out = nn.Linear(width, 1)
        self.embedding = nn.Linear(labels, width, bias=False) if projection else None

    def forward(self, x: Tensor, y: Tensor, masks: Masks | None = None) -> Tensor:
        """x `[b, d]` in [-1, 1], y one-hot `[b, classes]` -> logits `[b]`.

        With projection: out(h) + (V y) . h with features h of x alone, so that a label moves the logit by how
        well it fits the features. (Miyato & Koyama 2018, "cGANs with Projection Discriminator", equation 5)
        Convolutional features are summed over all places, as there, so h does not tell where a stroke is; or
        a dense layer sees each place.
        """
        given = y if self.concat else None
        if not self.convolutional:
            h = self.features(x if given is None else torch.cat([x, given], dim=1), masks)
        elif self.dense is None:
            h = self.features(x, given).sum(dim=(2, 3))
        else:
            h = F.leaky_relu(self.dense(self.features(x, given).flatten(1)), self.leak)
        logit = self.out(h).squeeze(1)
        return logit if self.embedding is None else logit + (h * self.embedding(y)).sum(dim=1)


class CGAN(nn.Module):
    """G: [z, y] -> an image. D: an image, y -> logit of "real". Unconditional: neither sees y."""

    def __init__(self, spec: Spec, p: CGANNetwork):
        super().__init__()
        self.spec, self.config = spec, config(spec, CGANNetwork, p)
        labels, channels = spec.count if p.conditional else 0, p.channels if p.network == "conv" else 0
        self.G = G(p.latent_dim + labels, spec, p.hidden, p.leak, channels)
        self.D = D(labels, spec, p)
        if p.spectral_norm:
            normalise(self.D)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """G and D, each with its own optimizer."""
        return {"G": self.G, "D": self.D}

    def generate(self, z: Tensor, y: Tensor, masks: Masks | None = None) -> Tensor:
        """z `[b, latent_dim]`, y one-hot `[b, classes]` -> images `[b, d]` in [-1, 1]."""
        return self.G(torch.cat([z, y], dim=1) if self.config["conditional"] else z, masks)

    def discriminate(self, x: Tensor, y: Tensor, masks: Masks | None = None) -> Tensor:
        """x `[b, d]` in [-1, 1], y one-hot `[b, classes]` -> logits `[b]`; D(x) = sigmoid(logit)."""
        return self.D(x, y, masks)


Params, Architecture, Network = CGANParams, CGANNetwork, CGAN


def normalise(network: nn.Module) -> None:
    """Divides each layer's weights by their largest singular value: a power iteration per pass in training.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks" (arXiv:1802.05957).
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            spectral_norm(module)


def build(p: CGANParams, spec: Spec, seed: int) -> CGAN:
    """Fresh networks on the CPU, initialised from the seed."""
    with seeded(seed, "cgan/power iteration"):  # its vectors start at random
        model = CGAN(spec, p)
    init_glorot(model, generator(seed, "cgan/init"))
    if p.spectral_norm:
        with torch.no_grad():
            for _ in range(15):  # as many iterations as PyTorch's own start, but from these weights
                model.D(torch.zeros(1, spec.pixels), torch.zeros(1, spec.count))
    return model


def discriminator_loss(real: Tensor, fake: Tensor, loss: str, smooth: float) -> Tensor:
    """What D minimises, `[b]`, for its logits of real and of generated images, `[b]` each.

    non-saturating, min-max: -log D(x) - log(1 - D(G(z|y))), nats per pair of images, with the target of real
    images lowered to 1 - smooth. (Mirza & Osindero 2014, equation 2; one-sided label smoothing: Salimans et
    al. 2016, "Improved Techniques for Training GANs", section 3.4; no other loss has targets to smooth)
    hinge: max(0, 1 - real) + max(0, 1 + fake). (Lim & Ye 2017, "Geometric GAN", arXiv:1705.02894)
    relativistic: -log sigmoid(real - fake), nats, of pairs with the same label. (Jolicoeur-Martineau 2019,
    "The relativistic discriminator", arXiv:1807.00734; Huang et al. 2024, "The GAN is dead; long live the
    GAN!", arXiv:2501.05441)
    """
    if loss == "hinge":
        return F.relu(1 - real) + F.relu(1 + fake)
    if loss == "relativistic":
        return F.softplus(fake - real)
    target = torch.full_like(real, 1 - smooth)
    on_real = F.binary_cross_entropy_with_logits(real, target, reduction="none")
    return on_real + F.softplus(fake)  # -log(1 - sigmoid(l)) = softplus(l)


def generator_loss(fake: Tensor, loss: str, real: Tensor | None = None) -> Tensor:
    """What G minimises, `[b]`, for D's logits of generated images; relativistic: and of real ones.

    non-saturating: -log D(G(z|y)); min-max: log(1 - D(G(z|y))). (Goodfellow et al. 2014, section 3)
    hinge: -fake. relativistic: -log sigmoid(fake - real). (as in `discriminator_loss`)
    """
    if loss == "hinge":
        return -fake
    if loss == "relativistic":
        assert real is not None, "a relativistic loss compares with real images"
        return F.softplus(real - fake)
    return -F.softplus(fake) if loss == "min-max" else F.softplus(-fake)


def gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """|dD/dx|^2 of each image, `[b]`: R1 for real images, R2 for generated ones.

    Half of it, weighted, is added to D's loss. Mescheder et al. 2018, "Which Training Methods for GANs do
    actually Converge?" (arXiv:1801.04406), section 4.1.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().sum(dim=1)


def train_step(
    model: CGAN,
    optimizers: Mapping[str, Optimizer],
    x: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    p: CGANParams,
) -> dict[str, Tensor]:
    """One discriminator step, then one generator step against the updated discriminator.

    x `[b, d]` in [0, 1], labels `[b]`. Returns for each image, `[b]`, detached: d_loss (nats per pair) and
    g_loss (nats per image; hinge losses are in logits), both without the penalties; and d_real and d_fake,
    the sigmoids of the logits of x and G(z|y) before the discriminator's step: probabilities of "real",
    except with the hinge and the relativistic loss. (Goodfellow et al. 2014, algorithm 1, with k = 1)
    """
    x, y = 2 * x - 1, model.spec.one_hot(labels)
    z, for_g, for_d, for_dg = draw_noise(p, len(x), noise)
    fake = model.generate(z, y, for_g)

    both = torch.cat([x, fake.detach()]).requires_grad_(p.r1 > 0 or p.r2 > 0)
    logits = model.discriminate(both, torch.cat([y, y]), for_d)
    real_logit, fake_logit = logits.chunk(2)
    d_loss = discriminator_loss(real_logit, fake_logit, p.loss, p.smooth)
    total = d_loss.mean()
    if p.r1 or p.r2:
        r1, r2 = gradient_penalty(logits, both).chunk(2)
        total = total + (p.r1 * r1 + p.r2 * r2).mean() / 2
    optimizers["D"].zero_grad()
    total.backward()
    optimizers["D"].step()

    with torch.no_grad():
        against = model.discriminate(x, y, for_dg) if p.loss == "relativistic" else None
    g_loss = generator_loss(model.discriminate(fake, y, for_dg), p.loss, against)
    optimizers["G"].zero_grad()
    g_loss.mean().backward(inputs=list(model.G.parameters()))  # D's gradients are not needed here
    optimizers["G"].step()
    return {
        "d_loss": d_loss.detach(),
        "g_loss": g_loss.detach(),
        "d_real": real_logit.detach().sigmoid(),
        "d_fake": fake_logit.detach().sigmoid(),
    }


def draw_noise(
    p: CGANParams, b: int, noise: torch.Generator
) -> tuple[Tensor, Masks | None, Masks | None, Masks | None]:
    """The noise of one step on b images: z `[b, latent_dim]`, and three pairs of dropout masks, or None.

    The masks are for G, for D on real and generated images (`[2 * b, hidden]`), and for D in G's step.
    """
    z = torch.randn(b, p.latent_dim, generator=noise, device=noise.device)
    if not p.dropout:
        return z, None, None, None
    masks = dropout_mask(p.dropout, (8 * b, p.hidden), noise)  # one call is faster
    for_g, for_d, for_dg = (part.chunk(2) for part in masks.split([2 * b, 4 * b, 2 * b]))
    return z, for_g, for_d, for_dg


def renew_statistics(model: CGAN, labels: Tensor, noise: torch.Generator) -> None:
    """Computes the statistics of G's batch normalisation anew, from generated images of these labels `[n]`.

    A moving average of weights needs its own: activations of averaged weights vary less than those of the
    weights that were averaged. (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization", section 3.2; for GANs, Brock et al. 2019, "Large Scale GAN Training", have "standing
    statistics")
    """
    z = torch.randn(len(labels), model.config["latent_dim"], generator=noise, device=noise.device)
    h = torch.cat([z, model.spec.one_hot(labels)], dim=1) if model.config["conditional"] else z
    update_bn(h.split(STATISTICS_BATCH), model.G)


@torch.no_grad()
def draw(model: CGAN, z: Tensor, labels: Tensor) -> Tensor:
    """Images for noise z `[n, latent_dim]` and labels `[n]`, without dropout: `[n, d]` in [0, 1]."""
    return (model.generate(z, model.spec.one_hot(labels)) + 1) / 2
