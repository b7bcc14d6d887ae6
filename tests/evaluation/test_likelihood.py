"""The Parzen window is a density, agrees with SciPy, and chooses its width on validation images."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from condgen.evaluation import likelihood


def test_it_agrees_with_scipy(gen):
    # Not scikit-learn's KernelDensity: its tree loses precision in 20 dimensions.
    samples, x = torch.rand(300, 20, generator=gen), torch.rand(50, 20, generator=gen)
    for sigma in (0.1, 0.3, 1.0):
        each = norm.logpdf(x.numpy()[:, None].astype(float), samples.numpy()[None].astype(float), sigma)
        expected = logsumexp(each.sum(axis=2), axis=1) - math.log(300)
        ours = likelihood.log_density(samples, x, [sigma])[0].numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-3)


def test_one_sample_is_a_gaussian():
    density = likelihood.log_density(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), [2.0])
    assert float(density) == pytest.approx(-25 / 8 - math.log(2 * math.pi * 4))


def test_the_density_integrates_to_one():
    samples = torch.tensor([[0.2], [0.7]])
    x = torch.linspace(-3, 4, 7001).view(-1, 1)
    density = likelihood.log_density(samples, x, [0.2])[0].exp()
    assert float(torch.trapezoid(density, x[:, 0].double())) == pytest.approx(1, abs=1e-6)


def test_the_width_is_chosen_on_validation_images_and_the_error_is_the_standard_error(gen):
    samples, validation, test = (torch.randn(n, 5, generator=gen) * 0.5 for n in (2000, 500, 1000))
    value, error, sigma = likelihood.parzen(samples, validation, test)
    by_sigma = {s: float(likelihood.log_density(samples, validation, [s]).mean()) for s in likelihood.SIGMAS}
    assert sigma == max(by_sigma, key=by_sigma.get)
    assert likelihood.SIGMAS[0] < sigma < likelihood.SIGMAS[-1], "the best width is inside the range tried"
    # The negative entropy of the true density is an upper bound.
    assert value.value < -5 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.5)) + 3 * error
    assert value.high - value.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_samples_like_the_test_images_are_likelier_than_a_collapsed_set(gen):
    real = torch.rand(400, 30, generator=gen)
    same, collapsed = torch.rand(400, 30, generator=gen), real[:1].repeat(400, 1)
    good, _, _ = likelihood.parzen(same, real[:200], real[200:])
    bad, _, _ = likelihood.parzen(collapsed, real[:200], real[200:])
    assert good.value > bad.value


def test_several_widths_at_once_give_the_same_as_each_alone(gen):
    samples, x = torch.rand(300, 20, generator=gen), torch.rand(likelihood.BLOCK + 50, 20, generator=gen)
    together = likelihood.log_density(samples, x, [0.1, 0.5])
    for row, sigma in zip(together, (0.1, 0.5), strict=True):
        assert torch.equal(row, likelihood.log_density(samples, x, [sigma])[0])
