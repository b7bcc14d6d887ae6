"""The CGAN's losses are the papers', each step trains its own network, and both see the labels."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from condgen.base import random
from condgen.datasets import data
from condgen.models import cgan
from condgen.training import loop
from condgen.training.progress import Progress
from condgen.training.state import begin

LN2 = math.log(2)


@pytest.fixture
def model(cgan_params):
    return cgan.build(cgan_params, seed=0)


def test_with_an_undecided_discriminator_the_losses_have_the_papers_values():
    # D = 1/2 everywhere is the optimum against a perfect generator: the game is then worth -log 4.
    zero = torch.zeros(3)
    torch.testing.assert_close(cgan.discriminator_loss(zero, zero, smooth=0), torch.full((3,), 2 * LN2))
    torch.testing.assert_close(cgan.generator_loss(zero, "non-saturating"), torch.full((3,), LN2))
    torch.testing.assert_close(cgan.generator_loss(zero, "min-max"), torch.full((3,), -LN2))


def test_the_losses_are_the_papers_formulas(gen):
    real, fake = torch.randn(2, 50, generator=gen, dtype=torch.float64) * 3
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    expected = -d_real.log() - (1 - d_fake).log()
    torch.testing.assert_close(cgan.discriminator_loss(real, fake, smooth=0), expected)
    torch.testing.assert_close(cgan.generator_loss(fake, "non-saturating"), -d_fake.log())
    torch.testing.assert_close(cgan.generator_loss(fake, "min-max"), (1 - d_fake).log())


def test_smoothing_is_one_sided():
    # With real targets of 0.95 the best D(x) is 0.95; the best D(G(z|y)) stays 0.
    logits = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    never = torch.full_like(logits, -30)
    best_on_real = logits[cgan.discriminator_loss(logits, never, smooth=0.05).argmin()].sigmoid()
    assert float(best_on_real) == pytest.approx(0.95, abs=1e-3)
    on_fake = cgan.discriminator_loss(never * 0, logits, smooth=0.05)
    assert bool((on_fake.diff() > 0).all())


def test_both_generator_losses_have_the_same_direction_and_only_min_max_saturates():
    logit = torch.tensor([-6.0], requires_grad=True)  # a discriminator that is sure of a fake
    slopes = {
        form: float(torch.autograd.grad(cgan.generator_loss(logit, form).sum(), logit)[0])
        for form in ("non-saturating", "min-max")
    }
    assert slopes["non-saturating"] == pytest.approx(-1, abs=0.01)
    assert -0.01 < slopes["min-max"] < 0


def step(model, p, gen):
    """A step on 100 images in [0, 1]; returns its numbers, and what it drew."""
    x, labels = torch.rand(100, 784, generator=gen), torch.arange(100) % 10
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in model.parts.items()}
    numbers = cgan.train_step(model, optimizers, x, labels, torch.Generator().manual_seed(3), p)
    drawn = cgan.draw_noise(p, 100, torch.Generator().manual_seed(3))
    return numbers, (2 * x - 1, data.one_hot(labels), *drawn)


@pytest.mark.parametrize("form", ["non-saturating", "min-max"])
def test_a_step_is_one_discriminator_step_then_one_generator_step(model, cgan_params, gen, form):
    p = cgan_params.model_copy(update={"generator_loss": form})
    expected = copy.deepcopy(model)
    _, (x, y, z, for_g, (d1, d2), for_dg) = step(model, p, gen)
    # The same by hand, on copies.
    fake = expected.generate(z, y, for_g)
    real_logit = expected.discriminate(x, y, (d1[:100], d2[:100]))
    fake_logit = expected.discriminate(fake, y, (d1[100:], d2[100:]))
    d_loss = cgan.discriminator_loss(real_logit, fake_logit, p.smooth).mean()
    d_gradients = torch.autograd.grad(d_loss, list(expected.D.parameters()), retain_graph=True)
    with torch.no_grad():
        for weight, gradient in zip(expected.D.parameters(), d_gradients, strict=True):
            weight -= 0.1 * gradient
    fake = expected.generate(z, y, for_g)
    g_loss = cgan.generator_loss(expected.discriminate(fake, y, for_dg), form).mean()
    g_gradients = torch.autograd.grad(g_loss, list(expected.G.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(expected.G.parameters(), g_gradients, strict=True):
            weight -= 0.1 * gradient
    for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["discriminator_loss", "generator_loss"])
def test_training_follows_the_loss_functions(split, cgan_params, monkeypatch, loss):
    """Halving the loss function changes the trained weights."""
    p = cgan_params.model_copy(update={"epochs": 1})
    model, _ = train(split, p, seed=0)
    whole = getattr(cgan, loss)
    monkeypatch.setattr(cgan, loss, lambda *arguments: 0.5 * whole(*arguments))
    other, _ = train(split, p, seed=0)
    for name, weight in model.state_dict().items():
        assert not torch.equal(weight, other.state_dict()[name]), name


def test_a_step_reports_detached_numbers(model, cgan_params, gen):
    numbers, _ = step(model, cgan_params, gen)
    assert set(numbers) == {"d_loss", "g_loss", "d_real", "d_fake"}
    assert not any(value.requires_grad for value in numbers.values())
    assert {tuple(value.shape) for value in numbers.values()} == {(100,)}, "one number per image"
    assert bool(((numbers["d_real"] > 0) & (numbers["d_real"] < 1)).all())


def test_the_label_reaches_generator_and_discriminator(model, gen):
    y = data.one_hot(torch.arange(10))
    other = y.roll(1, dims=1)
    z, x = torch.randn(10, 100, generator=gen), torch.rand(10, 784, generator=gen)
    assert not torch.allclose(model.generate(z, y), model.generate(z, other))
    assert not torch.allclose(model.discriminate(x, y), model.discriminate(x, other))


def test_without_conditioning_no_network_sees_the_label(cgan_params, gen):
    plain = cgan.build(cgan_params.model_copy(update={"conditional": False}), seed=0)
    y = data.one_hot(torch.arange(10))
    other = y.roll(1, dims=1)
    z, x = torch.randn(10, 100, generator=gen), torch.rand(10, 784, generator=gen)
    assert torch.equal(plain.generate(z, y), plain.generate(z, other))
    assert torch.equal(plain.discriminate(x, y), plain.discriminate(x, other))
    assert (plain.G.hidden1.in_features, plain.D.hidden1.in_features) == (100, 784)


def test_the_layer_sizes_are_those_of_the_article(model):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "G.hidden1.weight": (128, 110),
        "G.hidden2.weight": (128, 128),
        "G.out.weight": (784, 128),
        "D.hidden1.weight": (128, 794),
        "D.hidden2.weight": (128, 128),
        "D.out.weight": (1, 128),
    }


def test_dropout_works_in_training_and_is_off_when_drawing(model, cgan_params, gen):
    z, masks, _, _ = cgan.draw_noise(cgan_params, 100, gen)
    y = data.one_hot(torch.arange(100) % 10)
    assert not torch.allclose(model.generate(z, y, masks), model.generate(z, y))
    labels = torch.arange(100) % 10
    assert torch.equal(cgan.draw(model, z, labels), cgan.draw(model, z, labels))
    torch.testing.assert_close(cgan.draw(model, z, labels), (model.generate(z, y).detach() + 1) / 2)


def test_the_noise_of_every_step_is_new(cgan_params, gen):
    steps = [cgan.draw_noise(cgan_params, 100, gen) for _ in range(4)]
    drawn = [tensor for z, *masks in steps for tensor in (z, *(mask for pair in masks for mask in pair))]
    assert [tuple(t.shape) for t in drawn[:7]] == [
        (100, 100),
        *[(100, 128)] * 2,
        *[(200, 128)] * 2,
        *[(100, 128)] * 2,
    ]
    assert len({tensor.numpy().tobytes() for tensor in drawn}) == len(drawn)


def train(split, p, seed):
    state = begin(cgan, p, seed, len(split.train))
    numbers = [n for _, n in loop.train(cgan, state, split, p, seed, Progress("cgan", p.epochs))]
    return state.model, numbers


def test_every_epoch_has_its_own_order_and_noise(split, cgan_params, monkeypatch):
    asked = []

    def recording(seed, stream, epoch=0, device="cpu"):
        asked.append((seed, stream, epoch))
        return random.generator(seed, stream, epoch, device)

    monkeypatch.setattr(loop, "generator", recording)
    train(split, cgan_params, seed=5)
    for stream in ("cgan/shuffle", "cgan/noise"):
        assert [key for key in asked if key[1] == stream] == [(5, stream, 1), (5, stream, 2)]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(split, cgan_params):
    (a, numbers), (b, _), (c, _) = (train(split, cgan_params, seed) for seed in (3, 3, 4))
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name
        assert not torch.equal(weight, c.state_dict()[name]), name
    assert [set(n) for n in numbers] == [{"d_loss", "g_loss", "d_real", "d_fake"}] * 2


def test_a_batch_larger_than_the_training_set_is_the_training_set(split, cgan_params):
    few = replace(split, train=data.Images(split.train.x[:150], split.train.y[:150]))
    both = [train(few, cgan_params.model_copy(update={"batch_size": b}), seed=0)[0] for b in (150, 50_000)]
    for a, b in zip(both[0].parameters(), both[1].parameters(), strict=True):
        assert torch.equal(a, b)
