"""The conditional variational autoencoder: network, loss, training step, drawing.

Kingma & Welling 2014, "Auto-Encoding Variational Bayes" (arXiv:1312.6114); conditioned on the label as the
model M2 of Kingma et al. 2014, "Semi-Supervised Learning with Deep Generative Models" (arXiv:1406.5298), and
as Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative Models",
whose prior p(z|y) may depend on the label: `priors` defines the choices. The papers' symbols: x an image, y
its label, z the latent code, q(z|x, y) = N(mu, exp(logvar)).
"""

from collections.abc import Callable, Mapping
from math import ceil, log, pi
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.base.random import generator
from condgen.base.sections import LrSchedule, Section
from condgen.datasets import data
from condgen.datasets.spec import Spec
from condgen.models import priors
from condgen.models.layers import Down, Up, config, dense, group_norm, init_glorot, quarter

BOUND_SAMPLES = 100  # k of the importance-weighted bound
BOUND_BATCH = 20  # test images at once, for memory; another number draws other noise
VALIDATION_BATCH = 500  # images at once, for memory
LEAST_LOG_SIGMA = -6.0  # of the Gaussian likelihood


class CVAENetwork(Section):
    """What shapes the network: kept in config.json beside the weights."""

    section: ClassVar[str] = "cvae"
    conditional: bool
    network: Literal["mlp", "conv"]
    layers: int = Field(ge=1, le=64)
    hidden: int = Field(ge=1, le=65_536)
    channels: int = Field(ge=1, le=4096)
    latent_dim: int = Field(ge=1, le=65_536)
    prior: Literal["normal", "class", "flow"]
    couplings: int = Field(ge=1, le=256)
    flow_hidden: int = Field(ge=1, le=65_536)

    @model_validator(mode="after")
    def _fits(self) -> "CVAENetwork":
        if self.prior != "normal" and not self.conditional:
            raise ValueError(f"cvae.prior is {self.prior!r}, which needs cvae.conditional to be true")
        if self.prior == "flow" and self.latent_dim < 2:
            raise ValueError("cvae.latent_dim is 1, but must be 2 or more with cvae.prior flow")
        return self


class CVAEParams(CVAENetwork):
    """Section `cvae` of params.yaml."""

    kl_weight: float = Field(ge=0, le=1000)
    epochs: int = Field(ge=1, le=100_000)
    prior_epochs: int = Field(ge=0, le=100_000)
    batch_size: int = Field(ge=1, le=60_000)
    lr: float = Field(gt=0, le=1)
    lr_schedule: LrSchedule
    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    epsilon: float = Field(gt=0, le=1)
    ema: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _learns(self) -> "CVAEParams":
        if self.prior_epochs and self.prior == "normal":
            raise ValueError(
                f"cvae.prior_epochs is {self.prior_epochs}, but must be 0 with cvae.prior normal, "
                "which has nothing to learn"
            )
        return self


class CVAE(nn.Module):
    """Encoder [x, y] -> hidden -> (mu, logvar); prior; decoder [z, y] -> hidden -> logits of x.

    network "mlp": `layers` hidden layers of `hidden` units with ReLU, in the encoder and in the decoder (the
    article has one). "conv": also convolutions, before the encoder's layers and after the decoder's. With
    `conditional` false neither sees y, which gives the plain VAE.
    """

    def __init__(self, spec: Spec, p: CVAENetwork):
        super().__init__()
        self.spec, self.config = spec, config(spec, CVAENetwork, p)
        label, convolutional = spec.count if p.conditional else 0, p.network == "conv"
        self.down = Down(spec, p.channels, nn.ReLU) if convolutional else nn.Identity()
        inputs = 4 * p.channels * quarter(spec) ** 2 if convolutional else spec.pixels
        self.encoder = dense(inputs + label, p.hidden, p.layers, nn.ReLU)
        self.mu = nn.Linear(p.hidden, p.latent_dim)
        self.logvar = nn.Linear(p.hidden, p.latent_dim)
        self.decoder = dense(p.latent_dim + label, p.hidden, p.layers, nn.ReLU)
        self.logits = (
            Up(p.hidden, spec, p.channels, nn.ReLU, group_norm)
            if convolutional
            else nn.Linear(p.hidden, spec.pixels)
        )
        self.log_sigma = nn.Parameter(torch.zeros(())) if spec.channels > 1 else None
        self.prior: priors.Normal | priors.ClassGaussian | priors.Flow
        if p.prior == "normal":
            self.prior = priors.Normal()
        elif p.prior == "class":
            self.prior = priors.ClassGaussian(p.latent_dim, spec.count)
        else:
            self.prior = priors.Flow(p.latent_dim, spec.count, p.couplings, p.flow_hidden)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """One optimizer trains the whole network."""
        return {"model": self}

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x `[b, d]` in [0, 1], y one-hot `[b, classes]` -> mu, logvar, each `[b, latent_dim]`."""
        h = self.encoder(self.with_label(self.down(x).flatten(1), y))
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """z `[b, latent_dim]`, y one-hot `[b, classes]` -> logits of the pixels `[b, d]`."""
        return self.logits(self.decoder(self.with_label(z, y)))

    def with_label(self, x: Tensor, y: Tensor) -> Tensor:
        """A network's input: x `[b, n]` concatenated with y `[b, classes]`, or x alone if unconditional."""
        return torch.cat([x, y], dim=1) if self.config["conditional"] else x


Params, Architecture, Network = CVAEParams, CVAENetwork, CVAE


def build(p: CVAEParams, spec: Spec, seed: int) -> CVAE:
    """A fresh network on the CPU, initialised from the seed."""
    model = CVAE(spec, p)
    init_glorot(model, generator(seed, "cvae/init"))
    return model


def negative_log_likelihood(model: CVAE, logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z, y), `[b]`, nats per image: Bernoulli for grey images, Gaussian for colour.

    logits `[b, d]`, what the decoder returns; x `[b, d]` in [0, 1].
    """
    if model.log_sigma is None:
        return reconstruction(logits, x)
    return gaussian_reconstruction(logits, x, model.log_sigma)


def gaussian_reconstruction(logits: Tensor, x: Tensor, log_sigma: Tensor) -> Tensor:
    """-log N(x; sigmoid(logits), sigma^2 I): `[b, d]`, `[b, d]` in [0, 1], `[]` -> `[b]`, nats per image.

    sigma is learned, one for all pixels, and so balances reconstruction and KL divergence. Rybkin, Daniilidis
    & Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders" (arXiv:2006.13202). A density
    of numbers with 256 levels has no bound as sigma goes to 0, so log sigma is at least LEAST_LOG_SIGMA, as
    in their code.
    """
    log_sigma = LEAST_LOG_SIGMA + F.softplus(log_sigma - LEAST_LOG_SIGMA)
    deviations = (x - logits.sigmoid()) * torch.exp(-log_sigma)
    return (0.5 * deviations.square() + log_sigma + 0.5 * log(2 * pi)).sum(dim=1)


def bits_per_dimension(nats: float, spec: Spec) -> float:
    """-log p(x|y) of an image in nats -> bits for each of its d numbers.

    Grey pixels are means of binary ones, so these bits are per binary pixel, not of 256 levels. A density
    (colour) is of numbers in [0, 1], of which each of 256 levels takes 1/256: 8 bits are added. That is an
    approximation, because no noise is added to the levels as it should be. (Theis et al. 2016, "A note on the
    evaluation of generative models", section 3.1)
    """
    return nats / (spec.pixels * log(2)) + (8 if spec.channels > 1 else 0)


def reconstruction(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z, y) with Bernoulli pixels: sum over pixels of the binary cross-entropy.

    logits `[b, d]`, x `[b, d]` in [0, 1] -> `[b]`, nats per image. For grey pixels this is the usual
    surrogate, not a likelihood. (Kingma & Welling 2014, appendix C.1)
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


def negative_elbo(model: CVAE, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """(reconstruction, KL), each `[b]`, nats per image; their sum is -ELBO with one sample of z.

    z = mu + exp(logvar / 2) * eps, the reparameterisation. x `[b, d]` in [0, 1], y one-hot `[b, classes]`,
    eps `[b, latent_dim]` from N(0, I). (Kingma & Welling 2014, equation 10; the KL is the prior's)
    """
    mu, logvar = model.encode(x, y)
    z = mu + torch.exp(logvar / 2) * eps
    return negative_log_likelihood(model, model.decode(z, y), x), model.prior.kl(mu, logvar, z, y)


def train_step(
    model: CVAE,
    optimizers: Mapping[str, Optimizer],
    x: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    p: CVAEParams,
) -> dict[str, Tensor]:
    """One step on reconstruction + kl_weight * KL, averaged over a batch: with weight 1, on -ELBO.

    x `[b, d]` in [0, 1], labels `[b]`. Returns each image's -ELBO (`loss`) and its terms, `[b]` each, nats,
    detached. (Kingma & Welling 2014, algorithm 1; the weight is beta of Higgins et al. 2017, "beta-VAE")
    """
    eps = torch.randn(len(x), p.latent_dim, generator=noise, device=x.device)
    reconstructions, kl = negative_elbo(model, x, model.spec.one_hot(labels), eps)
    optimizers["model"].zero_grad()
    (reconstructions + p.kl_weight * kl).mean().backward()
    optimizers["model"].step()
    loss = reconstructions + kl
    return {"loss": loss.detach(), "reconstruction": reconstructions.detach(), "kl": kl.detach()}


def prior_step(
    model: CVAE,
    optimizers: Mapping[str, Optimizer],
    x: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    p: CVAEParams,
) -> dict[str, Tensor]:
    """As `train_step`, but only the prior learns, on its KL divergence from what the encoder gives.

    What is drawn is as good as the prior fits the codes, so it goes on when encoder and decoder are done.
    Returns the numbers of the first tenth of the images, because decoding all, only to show it, would take
    longer than the step. (Dai & Wipf 2019, "Diagnosing and Enhancing VAE Models", arXiv:1903.05789, whose
    second stage is a second VAE; here it is the prior itself)
    """
    eps = torch.randn(len(x), p.latent_dim, generator=noise, device=x.device)
    y, some = model.spec.one_hot(labels), ceil(len(x) / 10)
    with torch.no_grad():
        mu, logvar = model.encode(x, y)
        z = mu + torch.exp(logvar / 2) * eps
        reconstructions = negative_log_likelihood(model, model.decode(z[:some], y[:some]), x[:some])
    kl = model.prior.kl(mu, logvar, z, y)
    optimizers["model"].zero_grad()  # without gradients, Adam leaves the other weights alone
    kl.mean().backward()
    optimizers["model"].step()
    shown = kl.detach()[:some]
    return {"loss": reconstructions + shown, "reconstruction": reconstructions, "kl": shown}


def phases(p: CVAEParams) -> list[tuple[int, Callable]]:
    """(epochs, step): first all learn together, then the prior alone."""
    return [(p.epochs, train_step), (p.prior_epochs, prior_step)]


@torch.no_grad()
def validate(model: CVAE, images: data.Images, seed: int) -> dict[str, float]:
    """val_{loss,reconstruction,kl}: means in nats per image, with the same noise after every epoch."""
    device = images.x.device
    noise = generator(seed, "cvae/validation", device=device)
    eps = torch.randn(len(images), model.config["latent_dim"], generator=noise, device=device)
    batches = zip(*(t.split(VALIDATION_BATCH) for t in (images.x, images.y, eps)), strict=True)
    terms = [negative_elbo(model, x, model.spec.one_hot(y), part) for x, y, part in batches]
    # float64 on the CPU: a float32 sum over all images would be rounded, and MPS has no float64.
    reconstructions, kl = (torch.cat(term).cpu().double() for term in zip(*terms, strict=True))
    named = {"loss": reconstructions + kl, "reconstruction": reconstructions, "kl": kl}
    return {f"val_{name}": float(values.mean()) for name, values in named.items()}


@torch.no_grad()
def likelihood_bounds(model: CVAE, images: data.Images, seed: int) -> tuple[Tensor, Tensor]:
    """(ELBO, importance-weighted bound), each `[n]`: lower bounds of log p(x|y), nats per image.

    L_k = E[log 1/k sum_i p(x, z_i|y) / q(z_i|x, y)], z_i ~ q; the ELBO is L_1, and L_k grows with k towards
    log p(x|y). Burda, Grosse & Salakhutdinov 2016, "Importance Weighted Autoencoders", equation 8, with
    k = BOUND_SAMPLES. The ELBO here averages the same k samples.
    """
    device, k = images.x.device, BOUND_SAMPLES
    noise = generator(seed, "cvae/bounds", device=device)
    # Allocated before the loop: small tensors that stay between large ones that are freed would fragment
    # the heap, by 2 GB.
    elbo, bound = torch.empty(2, len(images), device=device)
    parts = (t.split(BOUND_BATCH) for t in (images.x, images.y, elbo, bound))
    for x, labels, elbo_part, bound_part in zip(*parts, strict=True):
        y = model.spec.one_hot(labels)
        mu, logvar = model.encode(x, y)
        eps = torch.randn(k, *mu.shape, generator=noise, device=device)
        z = mu + torch.exp(logvar / 2) * eps  # [k, b, latent_dim]
        logits = model.decode(z.flatten(0, 1), y.repeat(k, 1))
        log_p_x = -negative_log_likelihood(model, logits, x.repeat(k, 1)).view(k, -1)
        log_p_z = model.prior.log_prob(z.flatten(0, 1), y.repeat(k, 1)).view(k, -1)
        log_q_z = -0.5 * (eps.square() + logvar + log(2 * pi)).sum(dim=2)
        log_w = log_p_x + log_p_z - log_q_z
        elbo_part.copy_(log_w.mean(dim=0))
        bound_part.copy_(torch.logsumexp(log_w, dim=0) - log(k))
    return elbo, bound


@torch.no_grad()
def draw(model: CVAE, eps: Tensor, labels: Tensor) -> Tensor:
    """Images for noise eps `[n, latent_dim]` from N(0, I) and labels `[n]`: `[n, d]` in [0, 1].

    The prior turns the noise into codes z; an image is the mean of p(x|z, y).
    """
    y = model.spec.one_hot(labels)
    return model.decode(model.prior(eps, y), y).sigmoid()
