"""The conditional generative adversarial network: networks, losses, training epoch, drawing.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv:1411.1784), after Goodfellow et al.
2014, "Generative Adversarial Nets" (arXiv:1406.2661). Symbols as there: x an image, y its label, z noise,
G the generator, D the discriminator. Inside this module pixels are in [-1, 1], the range of tanh.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from condgen import data, dense
from condgen.adam import Adam
from condgen.errors import UserError
from condgen.params import Number, Section
from condgen.randomness import dropout_mask, generator
from condgen.training import Mean, Numbers, Progress, State, init_glorot


class CGANParams(Section):
    """Section `cgan` of params.yaml."""

    section: ClassVar[str] = "cgan"
    conditional: bool
    hidden: int = Field(ge=1, le=65_536)
    latent_dim: int = Field(ge=1, le=65_536)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=3600)  # a whole batch has to fit into the bundled set's 3,600 images
    lr: Number = Field(gt=0, le=1)
    beta1: Number = Field(ge=0, lt=1)
    beta2: Number = Field(ge=0, lt=1)
    epsilon: Number = Field(gt=0, le=1)
    dropout: Number = Field(ge=0, le=0.95)
    leak: Number = Field(ge=0, lt=1)
    smooth: Number = Field(ge=0, lt=0.5)
    generator_loss: Literal["non-saturating", "min-max"]


class MLP(nn.Module):
    """Two hidden layers, each leaky relu then dropout, and a linear layer out."""

    def __init__(self, inputs: int, hidden: int, outputs: int, leak: float):
        super().__init__()
        self.leak = leak
        self.hidden1 = nn.Linear(inputs, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, h: Tensor, masks: tuple[Tensor, Tensor] | None) -> Tensor:
        """h `[b, inputs]`, masks two `[b, hidden]` or None for no dropout -> `[b, outputs]`."""
        for i, layer in enumerate((self.hidden1, self.hidden2)):
            h = F.leaky_relu(layer(h), self.leak)
            if masks is not None:
                h = h * masks[i]
        return self.out(h)


def tanh(a: Tensor) -> Tensor:
    """tanh(a) = 2 sigmoid(2 a) - 1: PyTorch's own is twice as slow on some processors."""
    return 2 * torch.sigmoid(2 * a) - 1


class Pass:
    """One pass of a batch through an MLP, which remembers what its gradients need.

    Arguments as of `MLP.forward`, and out as it returns.
    """

    def __init__(self, mlp: MLP, h: Tensor, masks: tuple[Tensor, Tensor]):
        self.layers = (mlp.hidden1, mlp.hidden2, mlp.out)
        self.inputs, self.slopes = [h], []  # of each layer; of each activation with its dropout
        for layer, mask in zip(self.layers[:2], masks, strict=True):
            a = dense.forward(layer, h)
            slope = dense.leaky_slope(a, mlp.leak, mask)
            h = a.mul_(slope)
            self.inputs.append(h)
            self.slopes.append(slope)
        self.out = dense.forward(mlp.out, h)

    def backward(self, d: Tensor) -> None:
        """Sets the `grad` of the MLP's parameters, for d_out `[b, outputs]`."""
        for i in (2, 1, 0):
            dense.backward(self.layers[i], self.inputs[i], d)
            if i:
                d = dense.backward_to_input(self.layers[i], d).mul_(self.slopes[i - 1])

    def backward_to_input(self, d: Tensor) -> Tensor:
        """d_out `[b, outputs]` -> d_h `[b, inputs]`; the parameters' `grad` stays as it is."""
        for i in (2, 1):
            d = dense.backward_to_input(self.layers[i], d).mul_(self.slopes[i - 1])
        return dense.backward_to_input(self.layers[0], d)


class CGAN(nn.Module):
    """G: [z, y] -> pixels by tanh. D: [x, y] -> logit of "real". Unconditional: neither sees y."""

    def __init__(self, hidden: int, latent_dim: int, conditional: bool, leak: float):
        super().__init__()
        self.config = {"hidden": hidden, "latent_dim": latent_dim, "conditional": conditional, "leak": leak}
        label = data.CLASSES if conditional else 0
        self.G = MLP(latent_dim + label, hidden, data.PIXELS, leak)
        self.D = MLP(data.PIXELS + label, hidden, 1, leak)

    def generate(self, z: Tensor, y: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """z `[b, latent_dim]`, y one-hot `[b, 10]` -> images `[b, 784]` in [-1, 1]."""
        return tanh(self.G(self.with_label(z, y), masks))

    def discriminate(self, x: Tensor, y: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x `[b, 784]` in [-1, 1], y one-hot `[b, 10]` -> logits `[b]`; D(x) = sigmoid(logit)."""
        return self.D(self.with_label(x, y), masks).squeeze(1)

    def with_label(self, x: Tensor, y: Tensor) -> Tensor:
        """What a network is given: x `[b, n]` beside y `[b, 10]`, or x alone."""
        return torch.cat([x, y], dim=1) if self.config["conditional"] else x


def build(p: CGANParams, seed: int) -> CGAN:
    """Fresh networks on the CPU, initialised from the seed."""
    model = CGAN(p.hidden, p.latent_dim, p.conditional, p.leak)
    init_glorot(model, generator(seed, "cgan/init"))
    return model


def start(p: CGANParams, seed: int, device: str | torch.device = "cpu") -> State:
    """What training starts from: the networks, and an optimizer for each."""
    model = build(p, seed).to(device)
    return State(model, {"G": Adam(model.G.parameters(), p), "D": Adam(model.D.parameters(), p)})


def discriminator_loss(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    """-log D(x) - log(1 - D(G(z|y))), the target of real images lowered to 1 - smooth.

    real, fake: logits `[b]` -> `[b]`, nats per pair of images. (Mirza & Osindero 2014, equation 2;
    one-sided label smoothing: Salimans et al. 2016, "Improved Techniques for Training GANs", 3.4)
    """
    target = torch.full_like(real, 1 - smooth)
    on_real = F.binary_cross_entropy_with_logits(real, target, reduction="none")
    return on_real + F.softplus(fake)  # -log(1 - sigmoid(l)) = softplus(l)


def generator_loss(fake: Tensor, form: str) -> Tensor:
    """What G minimises: -log D(G(z|y)), non-saturating; or log(1 - D(G(z|y))), the min-max game's own.

    fake: logits `[b]` -> `[b]`, nats per image. (Goodfellow et al. 2014, section 3 and equation 1)
    """
    return -F.softplus(fake) if form == "min-max" else F.softplus(-fake)


@torch.no_grad()
def train_step(
    model: CGAN,
    optimizers: tuple[Adam, Adam],
    x: Tensor,
    y: Tensor,
    z: Tensor,
    masks: Tensor,
    p: CGANParams,
) -> dict[str, Tensor]:
    """One discriminator step, then one generator step against the new discriminator.

    x `[b, 784]` in [-1, 1], y one-hot `[b, 10]`, z `[b, latent_dim]`, masks `[8 * b, hidden]`: two layers
    each of G, of D on real and fake at once, and of D in the generator's step. Returns for each image,
    `[b]`, detached: losses in nats, D(x) and D(G(z|y)) as the discriminator's step saw them.
    """
    b = len(x)
    for_g, for_d, for_dg = (m.chunk(2) for m in masks.split([2 * b, 4 * b, 2 * b]))
    g_optimizer, d_optimizer = optimizers
    g_pass = Pass(model.G, model.with_label(z, y), for_g)
    fake = tanh(g_pass.out)
    fake_y = model.with_label(fake, y)

    d_pass = Pass(model.D, torch.cat([model.with_label(x, y), fake_y]), for_d)
    real_logit, fake_logit = d_pass.out.squeeze(1).chunk(2)
    d_loss = discriminator_loss(real_logit, fake_logit, p.smooth)
    d_real, d_fake = real_logit.sigmoid(), fake_logit.sigmoid()
    # The losses' gradients by the logits are D less its target: 1 - smooth on real images, 0 on fakes.
    d_pass.backward(torch.cat([d_real - (1 - p.smooth), d_fake]).div_(b).unsqueeze(1))
    d_optimizer.step()

    dg_pass = Pass(model.D, fake_y, for_dg)
    logit = dg_pass.out.squeeze(1)
    g_loss = generator_loss(logit, p.generator_loss)
    d_logit = -logit.sigmoid() if p.generator_loss == "min-max" else -(-logit).sigmoid()
    d_x = dg_pass.backward_to_input(d_logit.div_(b).unsqueeze(1))[:, : data.PIXELS]
    g_pass.backward(dense.tanh_backward(d_x, fake))
    g_optimizer.step()
    return {"d_loss": d_loss, "g_loss": g_loss, "d_real": d_real, "d_fake": d_fake}


def train(
    state: State, split: data.Split, p: CGANParams, seed: int, progress: Progress
) -> Iterator[tuple[int, Numbers]]:
    """Trains the epochs that `state` lacks, one each time it is asked; yields (epoch, means over images).

    Keys: d_loss (nats per pair), g_loss (nats per image), d_real = D(x) and d_fake = D(G(z|y)), mean
    probabilities of "real". Raises UserError where the training images are fewer than a batch.
    """
    images, b = split.train, p.batch_size
    if len(images) < b:
        raise UserError(
            f"params.yaml: cgan.batch_size is {b}: allowed is at most the {len(images)} training images"
        )
    device = images.x.device
    y_train = data.one_hot(images.y)
    optimizers = (state.optimizers["G"], state.optimizers["D"])
    for epoch in range(state.epoch + 1, p.epochs + 1):
        shuffle = generator(seed, "cgan/shuffle", epoch, device)
        batches = data.batches(images.x, y_train, b, shuffle, drop_last=True)
        noise = generator(seed, "cgan/noise", epoch, device)
        mean = Mean(len(images))
        for x, y in progress.batches(epoch, batches, len(images) // b):
            z, masks = draw_noise(p, noise)
            x = (x * 2).sub_(1)  # here and not before: a second copy of all images would take 170 MB
            mean.add(train_step(state.model, optimizers, x, y, z, masks, p))
        yield epoch, mean.read()


def draw_noise(p: CGANParams, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """(z, dropout masks) of one step, as `train_step` takes them."""
    z = torch.randn(p.batch_size, p.latent_dim, generator=noise, device=noise.device)
    return z, dropout_mask(p.dropout, (8 * p.batch_size, p.hidden), noise)


@torch.no_grad()
def draw(model: CGAN, z: Tensor, labels: Tensor) -> Tensor:
    """Images for noise z `[n, latent_dim]` and labels `[n]`, without dropout: `[n, 784]` in [0, 1]."""
    return (model.generate(z, data.one_hot(labels)) + 1) / 2
