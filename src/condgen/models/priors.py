"""What a CVAE may take as p(z|y), the prior of the latent code z of an image with label y.

The article's objective has D_KL[Q(z|X, c) || P(z|c)], c being the label, and its text says that "for each
possible value of C we would have a P(z)"; its code has N(0, I) for every c, which is `Normal` here.
`ClassGaussian` and `Flow` are learned, together with the rest of the CVAE and then, if wanted, alone. A
learned prior moves to where the encoder puts the codes, so what is drawn from it is what the decoder was
trained on (Tomczak & Welling 2018, "VAE with a VampPrior", arXiv:1705.07120; Chen et al. 2017, "Variational
Lossy Autoencoder", arXiv:1611.02731).

Each is a module: `prior(eps, y)` turns noise from N(0, I) into z, `log_prob(z, y)` is log p(z|y) in nats, and
`kl(mu, logvar, z, y)` is KL(q || p) in nats for q = N(mu, exp(logvar)) and a z drawn from it, each `[b]`.
eps, z, mu, logvar are `[b, n]`; y is one-hot, `[b, classes]`.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


def log_normal(x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log N(x; mu, exp(logvar)), summed over dimensions: `[b, n]` each -> `[b]`, nats."""
    # The deviations are squared last: exp(-logvar) alone would overflow for a logvar of -90.
    return -0.5 * (((x - mu) * torch.exp(-logvar / 2)).square() + logvar + math.log(2 * math.pi)).sum(dim=1)


class Normal(nn.Module):
    """N(0, I), whatever the class: the article's code, and Kingma & Welling 2014."""

    def forward(self, eps: Tensor, y: Tensor) -> Tensor:
        return eps

    def log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return log_normal(z, torch.zeros_like(z), torch.zeros_like(z))

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """0.5 * sum(exp(logvar) + mu^2 - 1 - logvar). (Kingma & Welling 2014, appendix B)"""
        return 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum(dim=1)


class ClassGaussian(nn.Module):
    """N(mu_y, sigma_y^2): a Gaussian for each class, its mean and variances learned. It starts as N(0, I).

    Jiang et al. 2017, "Variational Deep Embedding" (arXiv:1611.05148), have one for unknown classes.
    """

    def __init__(self, latent_dim: int, classes: int):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(classes, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(classes, latent_dim))

    def forward(self, eps: Tensor, y: Tensor) -> Tensor:
        return y @ self.mu + torch.exp(y @ self.logvar / 2) * eps

    def log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return log_normal(z, y @ self.mu, y @ self.logvar)

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """As `Normal.kl`, for logvar and mu relative to the prior's mean and in units of its deviation."""
        relative = logvar - y @ self.logvar
        distance = (mu - y @ self.mu) * torch.exp(-y @ self.logvar / 2)
        return 0.5 * (relative.exp() + distance.square() - 1 - relative).sum(dim=1)


class Flow(nn.Module):
    """A conditional normalising flow: affine couplings over a `ClassGaussian`. It starts as N(0, I).

    Dinh et al. 2017, "Density estimation using Real NVP" (arXiv:1605.08803), with the class given to each
    coupling, as Winkler et al. 2019, "Learning Likelihoods with Conditional Normalizing Flows"
    (arXiv:1912.00042). Its KL has no closed form: it is log q(z) - log p(z|y) at the z that was drawn, whose
    mean over z is the KL.
    """

    def __init__(self, latent_dim: int, classes: int, couplings: int, hidden: int):
        super().__init__()
        self.base = ClassGaussian(latent_dim, classes)
        self.couplings = nn.ModuleList(Coupling(latent_dim, classes, hidden) for _ in range(couplings))

    def forward(self, eps: Tensor, y: Tensor) -> Tensor:
        z = self.base(eps, y)
        for coupling in self.couplings:
            z = coupling(z.flip(1), y)  # flipped, so that the next coupling changes the other part
        return z

    def inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(the base's value `[b, n]`, log|det d inverse / dz| `[b]`) of codes z."""
        log_det = torch.zeros(len(z), device=z.device)
        for coupling in reversed(cast(Sequence[Coupling], self.couplings)):
            z, change = coupling.inverse(z, y)
            z, log_det = z.flip(1), log_det + change
        return z, log_det

    def log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        """log p(z|y) = log N(inverse(z); mu_y, sigma_y) + log|det|. (Dinh et al. 2017, equation 3)"""
        u, log_det = self.inverse(z, y)
        return self.base.log_prob(u, y) + log_det

    def kl(self, mu: Tensor, logvar: Tensor, z: Tensor, y: Tensor) -> Tensor:
        return log_normal(z, mu, logvar) - self.log_prob(z, y)


class Coupling(nn.Module):
    """Scales and shifts the second part of z by functions of the first part and y.

    Dinh et al. 2017, equations 4 and 5. The log-scale lies in [-LIMIT, LIMIT], so that it cannot overflow.
    """

    LIMIT = 2.0

    def __init__(self, latent_dim: int, classes: int, hidden: int):
        super().__init__()
        self.kept = latent_dim // 2
        changed = latent_dim - self.kept
        self.network = nn.Sequential(
            nn.Linear(self.kept + classes, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * changed),
        )
        # 0 at first, so that a coupling starts as the identity (as in Kingma & Dhariwal 2018, "Glow", section
        # 3.3). A gain of its own, because `init_glorot` sets the weights of every layer.
        self.gain = nn.Parameter(torch.zeros(2 * changed))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        kept, changed = z[:, : self.kept], z[:, self.kept :]
        log_scale, shift = self._affine(kept, y)
        return torch.cat([kept, changed * torch.exp(log_scale) + shift], dim=1)

    def inverse(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z before the coupling, log|det| of the inverse)."""
        kept, changed = z[:, : self.kept], z[:, self.kept :]
        log_scale, shift = self._affine(kept, y)
        return torch.cat([kept, (changed - shift) * torch.exp(-log_scale)], dim=1), -log_scale.sum(dim=1)

    def _affine(self, kept: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = (self.network(torch.cat([kept, y], dim=1)) * self.gain).chunk(2, dim=1)
        return self.LIMIT * torch.tanh(log_scale), shift
