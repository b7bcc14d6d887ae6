"""The CVAE's losses mean what the paper says, labels reach every network, and training is repeatable."""

import pytest
import torch
from torch import distributions as D

from condgen import cvae, data, randomness, training


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


def test_the_layers_are_the_articles(model):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "encoder.weight": (512, 794),
        "mu.weight": (2, 512),
        "logvar.weight": (2, 512),
        "decoder.weight": (512, 12),
        "logits.weight": (784, 512),
    }


def train(split, p, seed):
    model = cvae.build(p, seed)
    numbers = [n for _, n in cvae.train(model, split, p, seed, training.Progress("cvae", p.epochs))]
    return model, numbers


def test_training_lowers_both_losses_and_adds_up(split, cvae_params):
    _, numbers = train(split, cvae_params, seed=0)
    for part in ("train", "val"):
        assert numbers[-1][f"{part}_loss"] < numbers[0][f"{part}_loss"] - 5
        for n in numbers:
            assert n[f"{part}_loss"] == pytest.approx(n[f"{part}_reconstruction"] + n[f"{part}_kl"], rel=1e-5)


def test_every_epoch_has_its_own_order_and_noise(split, cvae_params, monkeypatch):
    asked = []

    def recording(seed, stream, epoch=0, device="cpu"):
        asked.append((seed, stream, epoch))
        return randomness.generator(seed, stream, epoch, device)

    monkeypatch.setattr(cvae, "generator", recording)
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
