"""The CVAE's losses are the paper's, every network sees the labels, and training is reproducible."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import distributions as D

from condgen.base import random
from condgen.datasets import data
from condgen.models import cvae, priors
from condgen.training import loop
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import DIGITS, SHAPES


@pytest.fixture
def model(cvae_params):
    return cvae.build(cvae_params, DIGITS, seed=0)


PRIORS = ("normal", "class", "flow")
SMALL = {"hidden": 16, "channels": 2, "couplings": 2, "flow_hidden": 8}


def small(cvae_params, **changes):
    return cvae_params.model_copy(update=SMALL | changes)


def shake(module, gen):
    """Moves every parameter away from its initial value, at which a prior is N(0, I)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=gen)


def batch(gen, n=8):
    return torch.rand(n, 784, generator=gen), DIGITS.one_hot(torch.arange(n) % 10)


def test_kl_of_the_prior_is_zero():
    zero = torch.zeros(5, 2)
    assert torch.equal(priors.Normal().kl(zero, zero, zero, zero), torch.zeros(5))


def test_kl_agrees_with_torch_distributions(gen):
    mu, logvar = torch.randn(2, 6, 3, generator=gen)
    q = D.Normal(mu, torch.exp(logvar / 2))
    expected = D.kl_divergence(q, D.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(priors.Normal().kl(mu, logvar, mu, mu), expected)


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
        model.decoder[0].weight[:, :2] = 0
    elbo, bound = cvae.likelihood_bounds(model, some, seed=0)
    exact = -cvae.reconstruction(model.decode(torch.zeros(40, 2), DIGITS.one_hot(some.y)), some.x)
    torch.testing.assert_close(elbo, exact, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(bound, exact, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_weighted_bound_approaches_the_integral_over_the_latent_space(split, cvae_params, prior):
    """log p(x|y) = log of the integral of p(x|z, y) p(z|y) dz, here by a sum over a fine grid of z."""
    changes = {"prior": prior, "hidden": 128, "couplings": 2, "flow_hidden": 16}
    model, _ = train(split, cvae_params.model_copy(update=changes), seed=0)
    some = data.Images(split.test.x[:20], split.test.y[:20])
    half = 12 if prior == "flow" else 9  # of the grid's side
    line = torch.arange(-half, half, 0.15)  # its steps are shorter than the deviations of q
    z = torch.cartesian_prod(line, line)
    standard = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
    exact = torch.zeros(20, dtype=torch.float64)
    with torch.no_grad():
        mu, logvar = model.encode(some.x, DIGITS.one_hot(some.y))
        assert float(mu.abs().max()) < half - 2
        assert float(logvar.min()) > 2 * math.log(0.15)
        for c in some.y.unique():
            y = DIGITS.one_hot(c.expand(len(z)))
            log_prior = model.prior.log_prob(z, y)
            assert torch.allclose(log_prior, standard, atol=1e-4) == (prior == "normal")
            logits, x = model.decode(z, y), some.x[some.y == c]
            log_p = logits @ x.T - torch.nn.functional.softplus(logits).sum(dim=1, keepdim=True)
            log_joint = log_p.double() + log_prior[:, None] + 2 * math.log(0.15)
            exact[some.y == c] = torch.logsumexp(log_joint, dim=0)
    elbo, bound = cvae.likelihood_bounds(model, some, seed=0)
    # A close lower bound: the gap is what q, after two epochs, still differs from the posterior.
    assert -0.6 < float((bound - exact).mean()) < 0.05
    assert float((exact - elbo).min()) > -0.5, "a lower bound, up to the noise of 100 samples"
    assert float((exact - elbo).mean()) > float((exact - bound).mean())


@pytest.mark.parametrize("prior", PRIORS)
def test_the_elbo_of_many_samples_is_the_mean_of_single_ones(cvae_params, split, gen, prior):
    model = cvae.build(cvae_params.model_copy(update={"prior": prior, "flow_hidden": 16}), DIGITS, seed=0)
    shake(model.prior, gen)
    some = data.Images(split.test.x[:20], split.test.y[:20])
    elbo, _ = cvae.likelihood_bounds(model, some, seed=0)
    y = DIGITS.one_hot(some.y)
    with torch.no_grad():
        single = [
            sum(cvae.negative_elbo(model, some.x, y, torch.randn(20, 2, generator=gen))) for _ in range(300)
        ]
    assert float(elbo.mean()) == pytest.approx(-float(torch.stack(single).mean()), rel=2e-3)


def test_gradients_reach_the_encoder_through_the_sampled_code(model, gen):
    x, y = batch(gen)
    reconstruction, _ = cvae.negative_elbo(model, x, y, torch.randn(len(x), 2, generator=gen))
    reconstruction.sum().backward()
    for name in ("encoder.0", "mu", "logvar"):
        assert model.get_submodule(name).weight.grad.abs().sum() > 0, name


def test_the_label_reaches_encoder_and_decoder(model, gen):
    x, y = batch(gen)
    other = y.roll(1, dims=1)
    assert not torch.allclose(model.encode(x, y)[0], model.encode(x, other)[0])
    z = torch.randn(len(x), 2, generator=gen)
    assert not torch.allclose(model.decode(z, y), model.decode(z, other))


def test_without_conditioning_no_network_sees_the_label(cvae_params, gen):
    plain = cvae.build(cvae_params.model_copy(update={"conditional": False}), DIGITS, seed=0)
    x, y = batch(gen)
    other = y.roll(1, dims=1)
    assert torch.equal(plain.encode(x, y)[0], plain.encode(x, other)[0])
    z = torch.randn(len(x), 2, generator=gen)
    assert torch.equal(plain.decode(z, y), plain.decode(z, other))
    assert plain.encoder[0].in_features == 784
    assert plain.decoder[0].in_features == 2


def test_the_layer_sizes_are_those_of_the_article(model):
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "encoder.0.weight": (512, 794),
        "mu.weight": (2, 512),
        "logvar.weight": (2, 512),
        "decoder.0.weight": (512, 12),
        "logits.weight": (784, 512),
    }


def train(split, p, seed):
    state = begin(cvae, p, DIGITS, seed, len(split.train))
    numbers = [n for _, n in loop.train(cvae, state, split, p, seed, Progress("cvae", p.epochs))]
    return state.trained, numbers


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


@pytest.mark.parametrize(("owner", "loss"), [(priors.Normal, "kl"), (cvae, "reconstruction")])
def test_training_follows_the_loss_functions(split, cvae_params, monkeypatch, owner, loss):
    """Halving a loss term changes the trained weights and the logged number."""
    p = cvae_params.model_copy(update={"epochs": 1})
    model, (as_written,) = train(split, p, seed=0)
    whole = getattr(owner, loss)
    monkeypatch.setattr(owner, loss, lambda *tensors: 0.5 * whole(*tensors))
    other, (halved,) = train(split, p, seed=0)
    for name, weight in model.state_dict().items():
        assert not torch.equal(weight, other.state_dict()[name]), name
    # The optimizer minimizes a halved term less, so its unweighted value is larger.
    shown = f"train_{loss}"
    assert halved[shown] < as_written[shown] < 2 * halved[shown]


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("weight", [1.0, 0.5, 0.0])
def test_a_step_is_one_optimizer_step_on_the_reconstruction_and_the_weighted_kl(
    cvae_params, gen, prior, weight
):
    """With weight 1 on the mean of -ELBO; the reported loss is -ELBO with any weight."""
    p = small(cvae_params, prior=prior, kl_weight=weight)
    model = cvae.build(p, DIGITS, seed=0)
    shake(model.prior, gen)
    before = copy.deepcopy(model)
    x, labels = torch.rand(8, 784, generator=gen), torch.arange(8)
    optimizers = {"model": torch.optim.SGD(model.parameters(), lr=0.01)}
    noise = torch.Generator().manual_seed(3)
    for _ in range(2):  # the second step must start without the first one's gradient
        numbers = cvae.train_step(model, optimizers, x, labels, noise, p)
    noise = torch.Generator().manual_seed(3)
    for _ in range(2):
        eps = torch.randn(8, 2, generator=noise)
        terms = cvae.negative_elbo(before, x, DIGITS.one_hot(labels), eps)
        objective = (terms[0] + weight * terms[1]).mean()
        gradients = torch.autograd.grad(objective, list(before.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(before.parameters(), gradients, strict=True):
                parameter -= 0.01 * gradient
    for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    assert not any(value.requires_grad for value in numbers.values())
    torch.testing.assert_close(numbers["loss"], sum(terms).detach())
    torch.testing.assert_close(numbers["kl"], terms[1].detach())


@pytest.mark.parametrize("prior", PRIORS)
def test_the_terms_are_those_of_one_sample_with_any_prior(cvae_params, gen, prior):
    """-ELBO = -log p(x|z, y) + KL, where KL has the mean of log q(z|x, y) - log p(z|y) over z."""
    model = cvae.build(small(cvae_params, prior=prior), DIGITS, seed=0)
    shake(model.prior, gen)
    n = 4000
    x, y = (part.expand(n, -1) for part in batch(gen, n=1))
    eps = torch.randn(n, 2, generator=gen)
    with torch.no_grad():
        reconstruction, kl = cvae.negative_elbo(model, x, y, eps)
        mu, logvar = model.encode(x, y)
        q = D.Normal(mu, torch.exp(logvar / 2))
        z = q.loc + q.scale * eps
        single = q.log_prob(z).sum(dim=1) - model.prior.log_prob(z, y)
        torch.testing.assert_close(reconstruction, cvae.reconstruction(model.decode(z, y), x))
    assert float(kl.mean()) == pytest.approx(float(single.mean()), abs=5 * float(single.std()) / n**0.5)


def test_training_lowers_the_kl_of_a_learned_prior_below_that_of_the_standard_normal(split, cvae_params):
    """The prior goes to where the codes are: KL(q || N(0, I)) of the same network is larger."""
    p = cvae_params.model_copy(update={"prior": "class", "epochs": 1})
    model, _ = train(split, p, seed=0)
    with torch.no_grad():
        y = DIGITS.one_hot(split.test.y)
        mu, logvar = model.encode(split.test.x, y)
        learned = model.prior.kl(mu, logvar, mu, y).mean()
        standard = priors.Normal().kl(mu, logvar, mu, y).mean()
    assert float(learned) < float(standard)


def test_in_the_epochs_of_the_prior_only_the_prior_learns_and_fits_the_codes_better(split, cvae_params):
    """It goes on from what the other epochs alone would have given, the average."""
    p = cvae_params.model_copy(
        update={"prior": "flow", "latent_dim": 4, "flow_hidden": 16, "epochs": 2, "ema": 0.9}
    )
    (together, before), (trained, numbers) = (
        train(split, p.model_copy(update={"prior_epochs": more}), 0) for more in (0, 3)
    )
    assert numbers[:2] == before
    for name, value in together.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]) == (not name.startswith("prior.")), name
    assert numbers[-1]["val_reconstruction"] == before[-1]["val_reconstruction"]
    assert numbers[-1]["val_kl"] < before[-1]["val_kl"] - 0.1


@pytest.mark.parametrize("prior", ["class", "flow"])
def test_a_step_of_the_prior_is_one_optimizer_step_on_its_kl(cvae_params, gen, prior):
    p = small(cvae_params, prior=prior, kl_weight=0.1)
    model = cvae.build(p, DIGITS, seed=0)
    shake(model.prior, gen)
    before = copy.deepcopy(model)
    x, labels = torch.rand(11, 784, generator=gen), torch.arange(11) % 10
    optimizers = {"model": torch.optim.SGD(model.parameters(), lr=0.01)}
    noises = [torch.Generator().manual_seed(3) for _ in range(2)]
    cvae.train_step(model, optimizers, x, labels, noises[0], p)  # whose gradients must not be used again
    cvae.train_step(before, {"model": torch.optim.SGD(before.parameters(), lr=0.01)}, x, labels, noises[1], p)
    numbers = cvae.prior_step(model, optimizers, x, labels, noises[0], p)
    terms = cvae.negative_elbo(before, x, DIGITS.one_hot(labels), torch.randn(11, 2, generator=noises[1]))
    gradients = torch.autograd.grad(terms[1].mean(), list(before.prior.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(before.prior.parameters(), gradients, strict=True):
            parameter -= 0.01 * gradient
    for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    assert not any(value.requires_grad for value in numbers.values())
    torch.testing.assert_close(numbers["loss"], sum(terms).detach()[:2])
    torch.testing.assert_close(numbers["reconstruction"], terms[0].detach()[:2])


@pytest.mark.parametrize("prior", PRIORS)
def test_what_is_drawn_is_the_decoders_mean_at_the_priors_code(cvae_params, gen, prior):
    model = cvae.build(small(cvae_params, prior=prior), DIGITS, seed=0)
    z, labels = torch.randn(20, 2, generator=gen), torch.arange(20) % 10
    y = DIGITS.one_hot(labels)
    fresh = cvae.draw(model, z, labels)
    shake(model.prior, gen)
    drawn = cvae.draw(model, z, labels)
    torch.testing.assert_close(drawn, model.decode(model.prior(z, y), y).sigmoid().detach())
    assert torch.equal(fresh, drawn) == (prior == "normal")


def test_layers_is_the_number_of_hidden_layers_of_encoder_and_decoder(cvae_params, gen):
    model = cvae.build(small(cvae_params, layers=3), DIGITS, seed=0)
    linear = [
        [tuple(layer.weight.shape) for layer in part if isinstance(layer, torch.nn.Linear)]
        for part in (model.encoder, model.decoder)
    ]
    assert linear == [[(16, 794), (16, 16), (16, 16)], [(16, 12), (16, 16), (16, 16)]]
    # Without an activation between them, three layers are one: a sum of inputs would give a sum of outputs.
    a, b = torch.randn(2, 4, 794, generator=gen)
    assert not torch.allclose(model.encoder(a + b), model.encoder(a) + model.encoder(b))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_gradient_of_the_convolutional_network_reaches_every_parameter(cvae_params, gen, prior, layers):
    model = cvae.build(small(cvae_params, network="conv", layers=layers, prior=prior), DIGITS, seed=0)
    shake(model.prior, gen)
    x, y = batch(gen, n=20)
    sum(cvae.negative_elbo(model, x, y, torch.randn(20, 2, generator=gen))).sum().backward()
    for name, parameter in model.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def test_the_convolutional_network_has_the_shapes_of_the_plain_one(cvae_params, gen):
    model = cvae.build(small(cvae_params, network="conv", latent_dim=5), DIGITS, seed=0)
    x, y = batch(gen)
    assert [tuple(part.shape) for part in model.encode(x, y)] == [(8, 5), (8, 5)]
    assert model.decode(torch.randn(8, 5, generator=gen), y).shape == (8, 784)
    kernels = [
        tuple(m.weight.shape)
        for m in model.modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
    ]
    down = [(2, 1, 4, 4), (4, 2, 4, 4), (8, 4, 3, 3)]
    assert kernels == [*down, (8, 4, 4, 4), (4, 2, 4, 4), (1, 2, 3, 3)]


def test_the_label_reaches_the_convolutional_encoder_and_decoder_unless_unconditional(cvae_params, gen):
    x, y = batch(gen)
    other, z = y.roll(1, dims=1), torch.randn(len(x), 2, generator=gen)
    for conditional in (True, False):
        model = cvae.build(small(cvae_params, network="conv", conditional=conditional), DIGITS, seed=0).eval()
        assert torch.equal(model.encode(x, y)[0], model.encode(x, other)[0]) != conditional
        assert torch.equal(model.decode(z, y), model.decode(z, other)) != conditional


def test_a_pixel_reaches_the_convolutional_code_and_a_code_reaches_every_pixel(cvae_params, gen):
    model = cvae.build(small(cvae_params, network="conv", channels=4), DIGITS, seed=0).eval()
    x, y = batch(gen, n=1)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model.encode(x, y)[0].sum(), x)
    assert int((slope != 0).sum()) == 784
    codes = torch.randn(50, 2, generator=gen)
    assert float(model.decode(codes, y.expand(50, -1)).detach().std(dim=0).min()) > 0


@pytest.mark.parametrize("prior", PRIORS)
def test_what_a_trained_convolutional_network_draws_is_in_range_whatever_its_neighbours(
    split, cvae_params, gen, prior
):
    few = data.Images(split.train.x[:100], split.train.y[:100])
    p = small(cvae_params, network="conv", prior=prior, epochs=1)
    model, _ = train(replace(split, train=few, validation=few), p, seed=0)
    z, labels = torch.randn(20, 2, generator=gen), torch.arange(20) % 10
    images = cvae.draw(model, z, labels)
    assert images.shape == (20, 784)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    torch.testing.assert_close(images[7:8], cvae.draw(model, z[7:8], labels[7:8]))
    model.train()
    torch.testing.assert_close(images, cvae.draw(model, z, labels))  # also while it is trained


def test_the_global_generator_does_not_matter(cvae_params):
    p = small(cvae_params, network="conv", prior="flow")
    built = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        built.append(cvae.build(p, DIGITS, seed=0).state_dict())
    for name, value in built[0].items():
        assert torch.equal(value, built[1][name]), name


def test_colour_has_a_gaussian_likelihood_whose_deviation_is_learned(cvae_params, gen):
    model = cvae.build(cvae_params.model_copy(update={"hidden": 64}), SHAPES, seed=0)
    x, labels = torch.rand(50, SHAPES.pixels, generator=gen), torch.arange(50) % 3
    logits = torch.randn(50, SHAPES.pixels, generator=gen)
    with torch.no_grad():
        model.log_sigma.fill_(-1.5)
    sigma = (cvae.LEAST_LOG_SIGMA + torch.nn.functional.softplus(torch.tensor(4.5))).exp()
    expected = -torch.distributions.Normal(logits.sigmoid(), sigma).log_prob(x).sum(dim=1)
    torch.testing.assert_close(cvae.negative_log_likelihood(model, logits, x), expected)

    # With the mean fixed, the best sigma is the root mean square of the deviations.
    log_sigma = torch.zeros((), requires_grad=True)
    adam = torch.optim.Adam([log_sigma], lr=0.05)
    for _ in range(300):
        adam.zero_grad()
        cvae.gaussian_reconstruction(logits, x, log_sigma).mean().backward()
        adam.step()
    learned = cvae.LEAST_LOG_SIGMA + torch.nn.functional.softplus(log_sigma - cvae.LEAST_LOG_SIGMA)
    spread = (x - logits.sigmoid()).square().mean().sqrt()
    assert float(learned.detach().exp()) == pytest.approx(float(spread), rel=1e-3)

    assert cvae.build(cvae_params, DIGITS, seed=0).log_sigma is None, "grey images stay as in the article"
    drawn = cvae.draw(model, torch.randn(3, 2, generator=gen), labels[:3])
    assert drawn.shape == (3, SHAPES.pixels)


def test_bits_per_dimension_of_a_uniform_guess_are_eight():
    assert cvae.bits_per_dimension(0.0, SHAPES) == 8, "density 1 everywhere: each of 256 levels alike"
    assert cvae.bits_per_dimension(784 * math.log(2), DIGITS) == pytest.approx(1), "a fair coin a pixel"
