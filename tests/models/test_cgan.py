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
from specs import DIGITS

LN2 = math.log(2)


SMALL = {"hidden": 16, "channels": 2, "latent_dim": 8, "dropout": 0.0}


NETWORKS = {"mlp": {}, "conv": {"network": "conv"}, "dense": {"network": "conv", "head": "dense"}}
CONVOLUTIONAL = ["conv", "dense"]


def small(cgan_params, network="mlp", **changes):
    """network: a key of NETWORKS."""
    return cgan_params.model_copy(update=SMALL | NETWORKS[network] | changes)


@pytest.fixture
def model(cgan_params):
    return cgan.build(cgan_params, DIGITS, seed=0)


def test_with_an_undecided_discriminator_the_losses_have_the_papers_values():
    # D = 1/2 everywhere is the optimum against a perfect generator: the game is then worth -log 4.
    zero = torch.zeros(3)
    torch.testing.assert_close(
        cgan.discriminator_loss(zero, zero, "non-saturating", smooth=0), torch.full((3,), 2 * LN2)
    )
    torch.testing.assert_close(cgan.generator_loss(zero, "non-saturating"), torch.full((3,), LN2))
    torch.testing.assert_close(cgan.generator_loss(zero, "min-max"), torch.full((3,), -LN2))


def test_the_losses_are_the_papers_formulas(gen):
    real, fake = torch.randn(2, 50, generator=gen, dtype=torch.float64) * 3
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    expected = -d_real.log() - (1 - d_fake).log()
    for form in ("non-saturating", "min-max"):
        torch.testing.assert_close(cgan.discriminator_loss(real, fake, form, smooth=0), expected)
    torch.testing.assert_close(cgan.generator_loss(fake, "non-saturating"), -d_fake.log())
    torch.testing.assert_close(cgan.generator_loss(fake, "min-max"), (1 - d_fake).log())


def test_smoothing_is_one_sided():
    # With real targets of 0.95 the best D(x) is 0.95; the best D(G(z|y)) stays 0.
    logits = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    never = torch.full_like(logits, -30)
    best_on_real = logits[
        cgan.discriminator_loss(logits, never, "non-saturating", smooth=0.05).argmin()
    ].sigmoid()
    assert float(best_on_real) == pytest.approx(0.95, abs=1e-3)
    on_fake = cgan.discriminator_loss(never * 0, logits, "non-saturating", smooth=0.05)
    assert bool((on_fake.diff() > 0).all())


def test_both_generator_losses_have_the_same_direction_and_only_min_max_saturates():
    logit = torch.tensor([-6.0], requires_grad=True)  # a discriminator that is sure of a fake
    slopes = {
        form: float(torch.autograd.grad(cgan.generator_loss(logit, form).sum(), logit)[0])
        for form in ("non-saturating", "min-max")
    }
    assert slopes["non-saturating"] == pytest.approx(-1, abs=0.01)
    assert -0.01 < slopes["min-max"] < 0


def step(model, p, gen, n=100):
    """A step on n images in [0, 1]; returns its numbers, and what it drew."""
    x, labels = torch.rand(n, 784, generator=gen), torch.arange(n) % 10
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in model.parts.items()}
    numbers = cgan.train_step(model, optimizers, x, labels, torch.Generator().manual_seed(3), p)
    drawn = cgan.draw_noise(p, n, torch.Generator().manual_seed(3))
    return numbers, (2 * x - 1, DIGITS.one_hot(labels), *drawn)


@pytest.mark.parametrize("form", ["non-saturating", "min-max", "hinge", "relativistic"])
def test_a_step_is_one_discriminator_step_then_one_generator_step(model, cgan_params, gen, form):
    p = cgan_params.model_copy(update={"loss": form})
    expected = copy.deepcopy(model)
    _, (x, y, z, for_g, (d1, d2), for_dg) = step(model, p, gen)
    # The same by hand, on copies.
    fake = expected.generate(z, y, for_g)
    real_logit = expected.discriminate(x, y, (d1[:100], d2[:100]))
    fake_logit = expected.discriminate(fake, y, (d1[100:], d2[100:]))
    d_loss = cgan.discriminator_loss(real_logit, fake_logit, form, p.smooth).mean()
    d_gradients = torch.autograd.grad(d_loss, list(expected.D.parameters()), retain_graph=True)
    with torch.no_grad():
        for weight, gradient in zip(expected.D.parameters(), d_gradients, strict=True):
            weight -= 0.1 * gradient
    fake = expected.generate(z, y, for_g)
    against = expected.discriminate(x, y, for_dg).detach() if form == "relativistic" else None
    g_loss = cgan.generator_loss(expected.discriminate(fake, y, for_dg), form, against).mean()
    g_gradients = torch.autograd.grad(g_loss, list(expected.G.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(expected.G.parameters(), g_gradients, strict=True):
            weight -= 0.1 * gradient
    for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name, rtol=1e-4, atol=1e-6)


def test_the_hinge_losses_have_the_values_and_slopes_of_the_paper():
    real, fake = (torch.tensor(values, requires_grad=True) for values in ([2.0, 0.5, -1.0], [-3.0, 0.5, 2.0]))
    loss = cgan.discriminator_loss(real, fake, "hinge", smooth=0.05)
    torch.testing.assert_close(loss.detach(), torch.tensor([0 + 0, 0.5 + 1.5, 2 + 3.0]))
    of_real, of_fake = torch.autograd.grad(loss.sum(), [real, fake])
    assert (of_real.tolist(), of_fake.tolist()) == ([0, -1, -1], [0, 1, 1]), "nothing beyond the margin"
    loss = cgan.generator_loss(fake, "hinge")
    assert loss.tolist() == [3, -0.5, -2]
    assert torch.autograd.grad(loss.sum(), fake)[0].tolist() == [-1, -1, -1]


def test_the_relativistic_losses_have_the_values_and_slopes_of_the_paper():
    real, fake = (torch.tensor(values, requires_grad=True) for values in ([2.0, 0.0, -3.0], [-1.0, 0.0, 1.0]))
    d_loss = cgan.discriminator_loss(real, fake, "relativistic", smooth=0.05)
    g_loss = cgan.generator_loss(fake, "relativistic", real)
    difference = (real - fake).detach()
    torch.testing.assert_close(d_loss.detach(), (1 + torch.exp(-difference)).log())
    torch.testing.assert_close(g_loss.detach(), (1 + torch.exp(difference)).log())
    of_real, of_fake = torch.autograd.grad(d_loss.sum(), [real, fake])
    torch.testing.assert_close(of_real, -torch.sigmoid(-difference))
    torch.testing.assert_close(of_fake, torch.sigmoid(-difference))
    (slope,) = torch.autograd.grad(g_loss.sum(), fake)
    torch.testing.assert_close(slope, -torch.sigmoid(difference))


def test_the_relativistic_losses_depend_only_on_the_difference_of_the_logits(gen):
    def of_d(real, fake):
        return cgan.discriminator_loss(real, fake, "relativistic", smooth=0.0)

    def of_g(real, fake):
        return cgan.generator_loss(fake, "relativistic", real)

    real, fake = torch.randn(2, 20, generator=gen, dtype=torch.float64)
    for loss in (of_d, of_g):
        for shift in (-3, 5):
            torch.testing.assert_close(loss(real + shift, fake + shift), loss(real, fake))
            assert not torch.allclose(loss(real + shift, fake), loss(real, fake))


@pytest.mark.parametrize("form", ["hinge", "relativistic"])
def test_smoothing_is_for_the_losses_that_have_targets(gen, form):
    real, fake = torch.randn(2, 20, generator=gen)
    of = [cgan.discriminator_loss(real, fake, form, smooth) for smooth in (0.0, 0.3)]
    assert torch.equal(*of)


def test_a_relativistic_pair_has_the_same_label(cgan_params, gen, monkeypatch):
    """Each image is compared with the generated one of its own label, by D and by G."""
    p = small(cgan_params, loss="relativistic")
    model = cgan.build(p, DIGITS, seed=0)
    labels, pairs = torch.arange(20) % 10, []

    def labels_as_logits(x, y, masks=None):
        return y @ torch.arange(10.0) + 0 * model.D.out.bias + 0 * x.sum()

    def of_d(real, fake, loss, smooth):
        pairs.append((real.tolist(), fake.tolist()))
        return real - fake

    def of_g(fake, loss, real):
        pairs.append((real.tolist(), fake.tolist()))
        return real - fake

    monkeypatch.setattr(model, "discriminate", labels_as_logits)
    monkeypatch.setattr(cgan, "discriminator_loss", of_d)
    monkeypatch.setattr(cgan, "generator_loss", of_g)
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in model.parts.items()}
    cgan.train_step(model, optimizers, torch.rand(20, 784, generator=gen), labels, gen, p)
    assert pairs == [(labels.tolist(), labels.tolist())] * 2


def squared_gradient(model, x, y):
    """|dD/dx|^2 of each image, `[b]`, one image at a time."""
    rows = []
    for i in range(len(x)):
        row = x[i : i + 1].detach().requires_grad_()
        logit = model.discriminate(row, y[i : i + 1])
        (gradient,) = torch.autograd.grad(logit.squeeze(), row, create_graph=True)
        rows.append((gradient**2).sum())
    return torch.stack(rows)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_the_gradient_penalty_is_the_squared_gradient_of_each_image(cgan_params, gen, network, conditioning):
    model = cgan.build(small(cgan_params, network=network, conditioning=conditioning), DIGITS, seed=0)
    x, y = torch.randn(6, 784, generator=gen), DIGITS.one_hot(torch.arange(6))
    expected = squared_gradient(model, x, y)
    x.requires_grad_()
    penalty = cgan.gradient_penalty(model.discriminate(x, y), x)
    assert penalty.shape == (6,)
    assert float(penalty.detach().min()) > 0
    torch.testing.assert_close(penalty, expected)


@pytest.mark.parametrize(("r1", "r2"), [(0.0, 0.0), (8.0, 0.0), (0.0, 8.0), (8.0, 3.0)])
@pytest.mark.parametrize("form", ["non-saturating", "relativistic"])
def test_r1_penalises_real_images_and_r2_generated_ones_by_half_their_weight(cgan_params, gen, form, r1, r2):
    p = small(cgan_params, loss=form, r1=r1, r2=r2)
    model = cgan.build(p, DIGITS, seed=0)
    expected = copy.deepcopy(model)
    numbers, (x, y, z, *_) = step(model, p, gen, n=10)
    fake = expected.generate(z, y).detach()
    d_loss = cgan.discriminator_loss(
        expected.discriminate(x, y), expected.discriminate(fake, y), form, p.smooth
    )
    torch.testing.assert_close(
        numbers["d_loss"], d_loss.detach(), msg="the penalty is no part of what is shown"
    )
    penalties = r1 / 2 * squared_gradient(expected, x, y) + r2 / 2 * squared_gradient(expected, fake, y)
    weights = list(expected.D.parameters())
    gradients = torch.autograd.grad((d_loss + penalties).mean(), weights)
    for (name, ours), weight, gradient in zip(model.D.named_parameters(), weights, gradients, strict=True):
        torch.testing.assert_close(ours.detach(), (weight - 0.1 * gradient).detach(), msg=name)


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
    y = DIGITS.one_hot(torch.arange(10))
    other = y.roll(1, dims=1)
    z, x = torch.randn(10, 100, generator=gen), torch.rand(10, 784, generator=gen)
    assert not torch.allclose(model.generate(z, y), model.generate(z, other))
    assert not torch.allclose(model.discriminate(x, y), model.discriminate(x, other))


def test_without_conditioning_no_network_sees_the_label(cgan_params, gen):
    plain = cgan.build(cgan_params.model_copy(update={"conditional": False}), DIGITS, seed=0)
    y = DIGITS.one_hot(torch.arange(10))
    other = y.roll(1, dims=1)
    z, x = torch.randn(10, 100, generator=gen), torch.rand(10, 784, generator=gen)
    assert torch.equal(plain.generate(z, y), plain.generate(z, other))
    assert torch.equal(plain.discriminate(x, y), plain.discriminate(x, other))
    assert (plain.G.hidden.hidden1.in_features, plain.D.features.hidden1.in_features) == (100, 784)


def test_the_layer_sizes_are_those_of_the_article(model):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "G.hidden.hidden1.weight": (128, 110),
        "G.hidden.hidden2.weight": (128, 128),
        "G.out.weight": (784, 128),
        "D.features.hidden1.weight": (128, 794),
        "D.features.hidden2.weight": (128, 128),
        "D.out.weight": (1, 128),
    }


def test_dropout_works_in_training_and_is_off_when_drawing(model, cgan_params, gen):
    z, masks, _, _ = cgan.draw_noise(cgan_params, 100, gen)
    y = DIGITS.one_hot(torch.arange(100) % 10)
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
    state = begin(cgan, p, DIGITS, seed, len(split.train))
    numbers = [n for _, n in loop.train(cgan, state, split, p, seed, Progress("cgan", p.epochs))]
    return state.trained, numbers


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


@pytest.mark.parametrize("network", NETWORKS)
def test_the_logit_with_projection_is_linear_in_the_label(cgan_params, gen, network):
    """logit(x, y) = f(h) + (V y) . h: two labels differ by V(y - y') . h, whatever f is."""
    model = cgan.build(small(cgan_params, network=network, conditioning="projection"), DIGITS, seed=0)
    x, y = torch.randn(10, 784, generator=gen), DIGITS.one_hot(torch.arange(10))
    other, nothing = y.roll(1, dims=1), torch.zeros_like(y)
    with torch.no_grad():
        h = model.D.features(x, None)
        if network == "conv":
            h = h.sum(dim=(2, 3))
        elif network == "dense":
            h = torch.nn.functional.leaky_relu(model.D.dense(h.flatten(1)), model.D.leak)
        plain = model.discriminate(x, nothing)
        torch.testing.assert_close(plain, model.D.out(h).squeeze(1))
        by_label = model.discriminate(x, y) - model.discriminate(x, other)
        torch.testing.assert_close(by_label, ((y - other) @ model.D.embedding.weight.T * h).sum(dim=1))
        mixed = model.discriminate(x, 0.3 * y + 0.7 * other)
        torch.testing.assert_close(
            mixed, 0.3 * model.discriminate(x, y) + 0.7 * model.discriminate(x, other), rtol=1e-4, atol=1e-5
        )
    assert float(by_label.abs().min()) > 0
    assert model.D.embedding.weight.shape[1] == 10


def test_a_trained_projection_discriminator_believes_a_wrong_label_less(split, cgan_params):
    p = small(cgan_params, conditioning="projection", hidden=64, batch_size=20)
    few = replace(split, train=data.Images(split.train.x[:1000], split.train.y[:1000]))
    model, _ = train(few, p, seed=0)
    x, y = 2 * split.test.x - 1, DIGITS.one_hot(split.test.y)
    with torch.no_grad():
        right = model.discriminate(x, y).mean()
        wrong = torch.stack([model.discriminate(x, y.roll(i, dims=1)).mean() for i in range(1, 10)])
    assert float(wrong.mean()) < float(right) - 0.1


@pytest.mark.parametrize("network", CONVOLUTIONAL)
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_the_label_reaches_the_convolutional_networks(cgan_params, gen, network, conditioning):
    model = cgan.build(small(cgan_params, network=network, conditioning=conditioning), DIGITS, seed=0).eval()
    y = DIGITS.one_hot(torch.arange(10))
    other, z, x = y.roll(1, dims=1), torch.randn(10, 8, generator=gen), torch.rand(10, 784, generator=gen)
    assert not torch.allclose(model.generate(z, y), model.generate(z, other))
    assert not torch.allclose(model.discriminate(x, y), model.discriminate(x, other))
    plain = cgan.build(small(cgan_params, network=network, conditional=False), DIGITS, seed=0).eval()
    assert torch.equal(plain.generate(z, y), plain.generate(z, other))
    assert torch.equal(plain.discriminate(x, y), plain.discriminate(x, other))


@pytest.mark.parametrize("network", CONVOLUTIONAL)
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_the_gradient_of_the_convolutional_networks_reaches_every_parameter(
    cgan_params, gen, network, conditioning
):
    model = cgan.build(small(cgan_params, network=network, conditioning=conditioning), DIGITS, seed=0)
    z, y = torch.randn(20, 8, generator=gen), DIGITS.one_hot(torch.arange(20) % 10)
    images = model.generate(z, y)
    assert images.shape == (20, 784)
    logits = model.discriminate(images, y)
    assert logits.shape == (20,)
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("network", CONVOLUTIONAL)
def test_every_pixel_reaches_the_convolutional_discriminator(cgan_params, gen, network):
    model = cgan.build(small(cgan_params, network=network), DIGITS, seed=0)
    x, y = torch.rand(20, 784, generator=gen, requires_grad=True), DIGITS.one_hot(torch.arange(20) % 10)
    (slope,) = torch.autograd.grad(model.discriminate(x, y).sum(), x)
    assert bool((slope.abs().sum(dim=0) > 0).all())


def test_only_a_dense_head_sees_where_a_stroke_is(cgan_params):
    """A sum over all places is the same for a stroke one place, four pixels, further; edges are far away."""
    spec = DIGITS.model_copy(update={"side": 64})
    here, there = torch.full((1, 64, 64), -1.0), torch.full((1, 64, 64), -1.0)
    here[:, 30:34, 29:31], there[:, 30:34, 33:35] = 1, 1
    y = spec.one_hot(torch.tensor([3]))
    difference = {}
    for network in CONVOLUTIONAL:
        model = cgan.build(small(cgan_params, network=network), spec, seed=0)
        with torch.no_grad():
            logits = [model.discriminate(x.flatten(1), y) for x in (here, there)]
        difference[network] = float((logits[0] - logits[1]).abs())
    assert difference["conv"] < 1e-5 < 1e-3 < difference["dense"]


def test_what_a_trained_convolutional_generator_draws_is_in_range_whatever_its_neighbours(
    split, cgan_params, gen
):
    few = replace(split, train=data.Images(split.train.x[:100], split.train.y[:100]))
    model, _ = train(few, small(cgan_params, network="conv", batch_size=20, epochs=1), seed=0)
    z, labels = torch.randn(20, 8, generator=gen), torch.arange(20) % 10
    images = cgan.draw(model, z, labels)
    assert images.shape == (20, 784)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    torch.testing.assert_close(images[7:8], cgan.draw(model, z[7:8], labels[7:8]))
    model.train()
    assert not torch.allclose(images[7:8], cgan.draw(model, z, labels)[7:8], atol=1e-3), "batch statistics"


def normalised(network):
    """name -> the weight that a layer works with, as a matrix, of each layer with spectral normalisation."""
    return {
        name: module.weight.detach().flatten(1)
        for name, module in network.named_modules()
        if hasattr(module, "parametrizations")
    }


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_spectral_normalisation_makes_the_largest_singular_value_of_each_of_ds_layers_one(
    split, cgan_params, network, conditioning
):
    changes = {
        "network": network,
        "conditioning": conditioning,
        "spectral_norm": True,
        "batch_size": 20,
        "epochs": 1,
    }
    few = replace(split, train=data.Images(split.train.x[:400], split.train.y[:400]))
    model, _ = train(few, small(cgan_params, **changes), seed=0)
    weights = normalised(model.D)
    layers = [n for n, m in model.D.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    assert list(weights) == layers
    assert len(layers) == {"mlp": 3, "conv": 4, "dense": 5}[network] + (conditioning == "projection")
    for name, weight in weights.items():
        assert float(torch.linalg.svdvals(weight)[0]) == pytest.approx(1, abs=0.1), name
    assert normalised(model.G) == {}


@pytest.mark.parametrize("network", NETWORKS)
def test_spectral_normalisation_is_close_before_the_first_step(cgan_params, network):
    """The power iterations start from the initial weights, not from those that PyTorch drew before."""
    for seed in range(3):
        fresh = cgan.build(small(cgan_params, network=network, channels=8, spectral_norm=True), DIGITS, seed)
        for mode in (True, False):
            for name, weight in normalised(fresh.train(mode).D).items():
                assert float(torch.linalg.svdvals(weight)[0]) == pytest.approx(1, abs=0.1), name


def test_spectral_normalisation_leaves_the_generator_and_the_initial_weights_as_they_were(cgan_params):
    plain, normal = (cgan.build(small(cgan_params, spectral_norm=on), DIGITS, seed=0) for on in (False, True))
    for name, value in plain.G.state_dict().items():
        assert torch.equal(value, normal.G.state_dict()[name]), name
    originals = [p for name, p in normal.D.named_parameters() if name.endswith("original")]
    weights = [p for name, p in plain.D.named_parameters() if name.endswith("weight")]
    for weight, original in zip(weights, originals, strict=True):
        assert torch.equal(weight, original)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_global_generator_neither_matters_nor_changes(split, cgan_params, network):
    p = small(cgan_params, network=network, conditioning="projection", spectral_norm=True, epochs=1)
    few = replace(split, train=data.Images(split.train.x[:200], split.train.y[:200]))
    trained = []
    for global_seed, seed in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        trained.append(train(few, p, seed)[0].state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    for name, value in trained[0].items():
        assert torch.equal(value, trained[1][name]), name
    assert any("_u" in name for name in trained[0]), "the power iteration's vectors are stored"
    assert not all(torch.equal(value, trained[2][name]) for name, value in trained[0].items() if "_u" in name)


def test_an_averages_statistics_are_those_of_what_it_draws(cgan_params, split):
    """After an epoch, batch normalisation of averaged weights normalises its own activations."""
    changes = {"network": "conv", "channels": 8, "ema": 0.9, "batch_size": 20, "lr": 0.01}
    p = small(cgan_params, conditioning="projection", **changes)
    few = replace(split, train=data.Images(split.train.x[:400], split.train.y[:400]))
    state = begin(cgan, p, DIGITS, 0, len(few.train))
    for _ in loop.train(cgan, state, few, p, 0, Progress("cgan", p.epochs)):
        pass
    seen = {}
    for name, module in state.trained.G.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda module, _, out, name=name: seen.update({name: (module, out)}))
    cgan.draw(state.trained, torch.randn(400, p.latent_dim), few.train.y)
    assert len(seen) == 3
    for module, out in seen.values():
        mean, deviation = out.mean(dim=(0, 2, 3)), out.std(dim=(0, 2, 3))
        torch.testing.assert_close(mean, module.bias, atol=0.1, rtol=0)
        torch.testing.assert_close(deviation, module.weight.abs(), atol=0.1, rtol=0)
