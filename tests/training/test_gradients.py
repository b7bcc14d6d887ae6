"""The gradients that the training steps write out are those that autograd finds from the losses."""

import itertools

import pytest
import torch
from condgen.randomness import dropout_mask

from condgen import cgan, cvae, data, dense

B = 12


class Still:
    """An optimizer that keeps the gradients of its step, and leaves the parameters as they are."""

    def __init__(self, module):
        self.parameters, self.steps = list(module.parameters()), 0

    def step(self):
        self.steps += 1
        self.gradients = [p.grad.clone() for p in self.parameters]


def batch(gen):
    y = data.one_hot(torch.arange(B) % 10).double()
    return torch.rand(B, 784, generator=gen, dtype=torch.float64), y


def assert_same(gradients, expected):
    for ours, theirs in zip(gradients, expected, strict=True):
        assert theirs.abs().max() > 0, "a gradient of nothing but zeros compares nothing"
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("conditional", [True, False])
def test_the_cvaes_are_those_of_the_negative_elbo(cvae_params, gen, conditional):
    p = cvae_params.model_copy(update={"conditional": conditional, "latent_dim": 3})
    model, (x, y) = cvae.build(p, seed=0).double(), batch(gen)
    eps = torch.randn(B, 3, generator=gen, dtype=torch.float64)
    reconstruction, kl = cvae.negative_elbo(model, x, y, eps)
    expected = torch.autograd.grad((reconstruction + kl).mean(), list(model.parameters()))
    optimizer = Still(model)
    for _ in range(2):  # a second step overwrites, and does not add
        numbers = cvae.train_step(model, optimizer, x, y, eps)
        assert_same(optimizer.gradients, expected)
    assert optimizer.steps == 2
    torch.testing.assert_close(numbers["reconstruction"], reconstruction.detach())
    torch.testing.assert_close(numbers["kl"], kl.detach())
    torch.testing.assert_close(numbers["loss"], (reconstruction + kl).detach())


SETTINGS = {
    "conditional": [True, False],
    "generator_loss": ["non-saturating", "min-max"],
    "smooth": [0.0, 0.1],
    "dropout": [0.0, 0.5],
    "leak": [0.0, 0.2],
}


@pytest.mark.parametrize("setting", list(itertools.product(*SETTINGS.values())))
def test_the_cgans_are_those_of_the_games_two_losses(cgan_params, gen, setting):
    p = cgan_params.model_copy(update=dict(zip(SETTINGS, setting, strict=True)))
    model, (x, y) = cgan.build(p, seed=0).double(), batch(gen)
    x = 2 * x - 1
    z = torch.randn(B, p.latent_dim, generator=gen, dtype=torch.float64)
    masks = dropout_mask(p.dropout, (8 * B, p.hidden), gen).double()
    g1, g2, d1, d2, e1, e2 = masks.split([B, B, 2 * B, 2 * B, B, B])
    fake = model.generate(z, y, (g1, g2))
    real = model.discriminate(x, y, (d1[:B], d2[:B]))
    d_loss = cgan.discriminator_loss(real, model.discriminate(fake, y, (d1[B:], d2[B:])), p.smooth)
    g_loss = cgan.generator_loss(model.discriminate(fake, y, (e1, e2)), p.generator_loss)
    for_d = torch.autograd.grad(d_loss.mean(), list(model.D.parameters()), retain_graph=True)
    for_g = torch.autograd.grad(g_loss.mean(), list(model.G.parameters()))
    optimizers = Still(model.G), Still(model.D)
    for _ in range(2):
        numbers = cgan.train_step(model, optimizers, x, y, z, masks, p)
        assert_same(optimizers[0].gradients, for_g)
        assert_same(optimizers[1].gradients, for_d)
    assert [optimizer.steps for optimizer in optimizers] == [2, 2]
    torch.testing.assert_close(numbers["d_loss"], d_loss.detach())
    torch.testing.assert_close(numbers["g_loss"], g_loss.detach())
    torch.testing.assert_close(numbers["d_real"], real.detach().sigmoid())


@pytest.mark.parametrize("activation", ["relu", "leaky relu", "tanh"])
def test_activations_have_the_slopes_of_autograd_at_zero_too(gen, activation):
    a = torch.randn(6, 5, generator=gen, dtype=torch.float64)
    a[0] = 0
    a.requires_grad_()
    d_h, mask = torch.randn(2, 6, 5, generator=gen, dtype=torch.float64)
    if activation == "relu":
        h = a.relu()
        ours = dense.relu_backward(d_h, h.detach())
    elif activation == "tanh":
        h = a.tanh()
        ours = dense.tanh_backward(d_h, h.detach())
    else:
        h = torch.nn.functional.leaky_relu(a, 0.2) * mask
        slope = dense.leaky_slope(a.detach(), 0.2, mask)
        torch.testing.assert_close(a.detach() * slope, h.detach())
        ours = d_h * slope
    torch.testing.assert_close(ours, torch.autograd.grad(h, a, d_h)[0])
