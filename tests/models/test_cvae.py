"""The CVAE's losses are the paper's, every network sees the labels, and training is reproducible."""

import copy
import math

import pytest
import torch
from torch import distributions as D

from condgen.base import random
from condgen.datasets import data
from condgen.models import cvae
from condgen.training import loop
from condgen.training.progress import Progress
from condgen.training.state import begin


@pytest.fixture
def model(cvae_params):
    return cvae.build(cvae_params, seed=0)


def batch(gen, n=8):
    return torch.rand(n, 784, generator=gen), data.one_hot(torch.arange(n) % 10)


def test_kl_of_the_prior_is_zero():
    zero = torch.zeros(5, 2)
    assert torch.equal(cvae.kl_divergence(zero, zero), torch.zeros(5))


def test_kl_agrees_with_torch_distributions(gen):
    mu, logvar = torch.randn(2, 6, 3, generator=gen)
    q = D.Normal(mu, torch.exp(logvar / 2))
    expected = D.kl_divergence(q, D.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(cvae.kl_divergence(mu, logvar), expected)


def test_reconstruction_is_the_bernoulli_log_likelihood_summed_over_pixels(gen):
    logits, x = torch.randn(4, 784, generator=gen), torch.rand(4, 784, generator=gen).round()
    expected = -D.Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(cvae.reconstruction(logits, x), expected)


def test_reconstruction_is_right_where_exponentials_overflow_and_its_slope_is_right_at_zero():
    # At 0 the formula has kinks that cancel; beyond 88, e^l overflows float32.
    logits = torch.tensor([[-500.0, -90.0, -1e-4, 0.0, 1e-4, 90.0, 500.0]], requires_grad=True)
    x = torch.tensor([[0.0, 1.0, 0.25, 0.25, 0.25, 0.0, 1.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
    torch.testing.assert_close(cvae.reconstruction(logits, x), expected)
    (slope,) = torch.autograd.grad(cvae.reconstruction(logits, x).sum(), logits)
    torch.testing.assert_close(slope, (logits.sigmoid() - x).detach())


def test_the_elbo_agrees_with_torch_distributions(model, gen):
    x, y = batch(gen)
    eps = torch.randn(len(x), 2, generator=gen)
    mu, logvar = model.encode(x, y)
    q = D.Normal(mu, torch.exp(logvar / 2))
    z = q.loc + q.scale * eps
    log_p = D.Bernoulli(logits=model.decode(z, y), validate_args=False).log_prob(x).sum(dim=1)
    elbo = log_p - D.kl_divergence(q, D.Normal(0.0, 1.0)).sum(dim=1)
    reconstruction, kl = cvae.negative_elbo(model, x, y, eps)
    torch.testing.assert_close(-(reconstruction + kl), elbo)


def test_the_bounds_are_in_order_and_equal_log_p_where_the_posterior_is_exact(model, split):
    some = data.Images(split.test.x[:40], split.test.y[:40])
    elbo, bound = cvae.likelihood_bounds(model, some, seed=0)
    assert elbo.shape == bound.shape == (40,)
    assert bool((bound >= elbo - 1e-3).all()), "Jensen's inequality holds sample by sample"
    # A decoder that ignores z, with q the prior: both bounds are log p(x|y) itself.
    with torch.no_grad():
        for layer in (model.mu, model.logvar):
            layer.weight.zero_()
        model.decoder.weight[:, :2] = 0
    elbo, bound = cvae.likelihood_bounds(model, some, seed=0)
    exact = -cvae.reconstruction(model.decode(torch.zeros(40, 2), data.one_hot(some.y)), some.x)
    torch.testing.assert_close(elbo, exact, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(bound, exact, rtol=1e-4, atol=1e-2)


def test_the_weighted_bound_approaches_the_integral_over_the_latent_space(split, cvae_params):
    """log p(x|y) = log of the integral of p(x|z, y) N(z; 0, I) dz, here by a sum over a fine grid of z."""
    model, _ = train(split, cvae_params, seed=0)
    some = data.Images(split.test.x[:20], split.test.y[:20])
    line = torch.linspace(-6, 6, 241)
    z = torch.cartesian_prod(line, line)
    log_prior = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi) + 2 * math.log(12 / 240)
    exact = []
    with torch.no_grad():
        for x, y in zip(some.x, data.one_hot(some.y), strict=True):
            logits = model.decode(z, y.expand(len(z), -1))
            log_p = logits @ x - torch.nn.functional.softplus(logits).sum(dim=1)
            exact.append(torch.logsumexp(log_p.double() + log_prior, dim=0))
    exact = torch.stack(exact)
    elbo, bound = cvae.likelihood_bounds(model, some, seed=0)
    # A close lower bound: the gap is what q, after two epochs, still differs from the posterior.
    assert -0.6 < float((bound - exact).mean()) < 0.05
    assert float((exact - elbo).min()) > -0.5, "a lower bound, up to the noise of 100 samples"
    assert float((exact - elbo).mean()) > float((exact - bound).mean())


def test_the_elbo_of_many_samples_is_the_mean_of_single_ones(model, split, gen):
    some = data.Images(split.test.x[:20], split.test.y[:20])
    elbo, _ = cvae.likelihood_bounds(model, some, seed=0)
    y = data.one_hot(some.y)
    with torch.no_grad():
        single = [
            sum(cvae.negative_elbo(model, some.x, y, torch.randn(20, 2, generator=gen))) for _ in range(300)
        ]
    assert float(elbo.mean()) == pytest.approx(-float(torch.stack(single).mean()), rel=2e-3)


def test_gradients_reach_the_encoder_through_the_sampled_code(model, gen):
    x, y = batch(gen)
    reconstruction, _ = cvae.negative_elbo(model, x, y, torch.randn(len(x), 2, generator=gen))
    reconstruction.sum().backward()
    for name in ("encoder", "mu", "logvar"):
        assert model.get_submodule(name).weight.grad.abs().sum() > 0, name


def test_the_label_reaches_encoder_and_decoder(model, gen):
    x, y = batch(gen)
    other = y.roll(1, dims=1)
    assert not torch.allclose(model.encode(x, y)[0], model.encode(x, other)[0])
    z = torch.randn(len(x), 2, generator=gen)
    assert not torch.allclose(model.decode(z, y), model.decode(z, other))


def test_without_conditioning_no_network_sees_the_label(cvae_params, gen):
    plain = cvae.build(cvae_params.model_copy(update={"conditional": False}), seed=0)
    x, y = batch(gen)
    other = y.roll(1, dims=1)
    assert torch.equal(plain.encode(x, y)[0], plain.encode(x, other)[0])
    z = torch.randn(len(x), 2, generator=gen)
    assert torch.equal(plain.decode(z, y), plain.decode(z, other))
    assert plain.encoder.in_features == 784
    assert plain.decoder.in_features == 2


def test_the_layer_sizes_are_those_of_the_article(model):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "encoder.weight": (512, 794),
        "mu.weight": (2, 512),
        "logvar.weight": (2, 512),
        "decoder.weight": (512, 12),
        "logits.weight": (784, 512),
    }


def train(split, p, seed):
    state = begin(cvae, p, seed, len(split.train))
    numbers = [n for _, n in loop.train(cvae, state, split, p, seed, Progress("cvae", p.epochs))]
    return state.model, numbers


def test_training_lowers_both_losses_and_their_terms_add_up(split, cvae_params):
    _, numbers = train(split, cvae_params, seed=0)
    for part in ("train", "val"):
        assert numbers[-1][f"{part}_loss"] < numbers[0][f"{part}_loss"] - 5
        for n in numbers:
            assert n[f"{part}_loss"] == pytest.approx(n[f"{part}_reconstruction"] + n[f"{part}_kl"], rel=1e-5)


def test_every_epoch_has_its_own_order_and_noise(split, cvae_params, monkeypatch):
    asked = []

    def recording(seed, stream, epoch=0, device="cpu"):
        asked.append((seed, stream, epoch))
        return random.generator(seed, stream, epoch, device)

    monkeypatch.setattr(loop, "generator", recording)
    train(split, cvae_params, seed=5)
    for stream in ("cvae/shuffle", "cvae/noise"):
        assert [key for key in asked if key[1] == stream] == [(5, stream, 1), (5, stream, 2)]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(split, cvae_params):
    p = cvae_params.model_copy(update={"epochs": 1})
    (a, _), (b, _), (c, _) = (train(split, p, seed) for seed in (3, 3, 4))
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name
        assert not torch.equal(weight, c.state_dict()[name]), name


def test_a_drawn_image_is_in_range_and_does_not_depend_on_its_neighbours(model, gen):
    z, labels = torch.randn(20, 2, generator=gen), torch.arange(20) % 10
    images = cvae.draw(model, z, labels)
    assert images.shape == (20, 784)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    torch.testing.assert_close(images[7:8], cvae.draw(model, z[7:8], labels[7:8]))


@pytest.mark.parametrize("loss", ["kl_divergence", "reconstruction"])
def test_training_follows_the_loss_functions(split, cvae_params, monkeypatch, loss):
    """Halving a loss term changes the trained weights and the logged number."""
    p = cvae_params.model_copy(update={"epochs": 1})
    model, (as_written,) = train(split, p, seed=0)
    whole = getattr(cvae, loss)
    monkeypatch.setattr(cvae, loss, lambda *tensors: 0.5 * whole(*tensors))
    other, (halved,) = train(split, p, seed=0)
    for name, weight in model.state_dict().items():
        assert not torch.equal(weight, other.state_dict()[name]), name
    # The optimizer minimizes a halved term less, so its unweighted value is larger.
    shown = {"kl_divergence": "train_kl", "reconstruction": "train_reconstruction"}[loss]
    assert halved[shown] < as_written[shown] < 2 * halved[shown]


def test_a_step_is_one_optimizer_step_on_the_mean_negative_elbo(model, cvae_params, gen):
    before = copy.deepcopy(model)
    x, labels = torch.rand(8, 784, generator=gen), torch.arange(8)
    optimizers = {"model": torch.optim.SGD(model.parameters(), lr=0.1)}
    noise = torch.Generator().manual_seed(3)
    for _ in range(2):  # the second step must start without the first one's gradient
        numbers = cvae.train_step(model, optimizers, x, labels, noise, cvae_params)
    noise = torch.Generator().manual_seed(3)
    for _ in range(2):
        eps = torch.randn(8, 2, generator=noise)
        terms = cvae.negative_elbo(before, x, data.one_hot(labels), eps)
        gradients = torch.autograd.grad(sum(terms).mean(), list(before.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(before.parameters(), gradients, strict=True):
                weight -= 0.1 * gradient
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not any(value.requires_grad for value in numbers.values())
    torch.testing.assert_close(numbers["loss"], sum(terms).detach())
    torch.testing.assert_close(numbers["kl"], terms[1].detach())
