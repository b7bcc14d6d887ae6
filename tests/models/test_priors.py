"""Each prior is a density, and its samples, its KL and its inverse belong to that density."""

import pytest
import torch
from torch import distributions as D
from torch.autograd.functional import jacobian

from condgen.models import cvae, priors
from specs import DIGITS

KINDS = ("normal", "class", "flow")


def fresh(kind, latent_dim, couplings=3):
    if kind == "normal":
        return priors.Normal()
    if kind == "class":
        return priors.ClassGaussian(latent_dim, 10)
    return priors.Flow(latent_dim, 10, couplings, hidden=8)


def random_prior(kind, latent_dim, gen, couplings=3):
    """A prior in float64, every parameter of which is random, the gain of the flow's couplings too."""
    prior = fresh(kind, latent_dim, couplings).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=gen))
    return prior


def codes(gen, latent_dim, n=10):
    """(z or eps `[n, latent_dim]`, y `[n, 10]` of every class), float64."""
    z = torch.randn(n, latent_dim, generator=gen, dtype=torch.float64)
    return z, DIGITS.one_hot(torch.arange(n) % 10).double()


def grid(half=12.0, points=401):
    """(z `[points^2, 2]`, the area of a cell), float64: a sum over it is an integral over the plane."""
    line = torch.linspace(-half, half, points, dtype=torch.float64)
    return torch.cartesian_prod(line, line), (2 * half / (points - 1)) ** 2


def of_class(c, n):
    return DIGITS.one_hot(torch.full((n,), c)).double()


def log_det_of_jacobian(f, x):
    """log|det df/dx| of each row of x `[n, d]`, `[n]`, where f(row index, row) is a row."""
    return torch.stack(
        [jacobian(lambda row, i=i: f(i, row), x[i]).slogdet().logabsdet for i in range(len(x))]
    )


@pytest.mark.parametrize("latent_dim", [2, 3, 4, 7])
@pytest.mark.parametrize("couplings", [1, 2, 3])
def test_a_flow_inverts(gen, latent_dim, couplings):
    flow = random_prior("flow", latent_dim, gen, couplings)
    eps, y = codes(gen, latent_dim)
    z = flow(eps, y)
    assert not torch.allclose(z, flow.base(eps, y))
    torch.testing.assert_close(flow.inverse(z, y)[0], flow.base(eps, y))


@pytest.mark.parametrize("latent_dim", [2, 3, 4, 7])
def test_the_log_determinant_of_a_flow_agrees_with_the_jacobian_of_autograd(gen, latent_dim):
    flow = random_prior("flow", latent_dim, gen)
    z, y = codes(gen, latent_dim)
    expected = log_det_of_jacobian(lambda i, row: flow.inverse(row[None], y[i : i + 1])[0][0], z)
    torch.testing.assert_close(flow.inverse(z, y)[1], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("latent_dim", [2, 5])
def test_samples_have_the_density_that_log_prob_says(gen, kind, latent_dim):
    """log p(f(eps)) = log N(eps; 0, I) - log|det df/deps|, the change of variables."""
    prior = random_prior(kind, latent_dim, gen)
    eps, y = codes(gen, latent_dim)
    of_eps = D.Normal(0.0, 1.0).log_prob(eps).sum(dim=1)
    change = log_det_of_jacobian(lambda i, row: prior(row[None], y[i : i + 1])[0], eps)
    torch.testing.assert_close(prior.log_prob(prior(eps, y), y), of_eps - change)


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_integrates_to_one_for_every_class(gen, kind):
    prior = random_prior(kind, 2, gen)
    z, cell = grid()
    with torch.no_grad():
        for c in range(10):
            total = float(prior.log_prob(z, of_class(c, len(z))).exp().sum()) * cell
            assert total == pytest.approx(1, abs=1e-3), c


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_mean_and_the_spread_of_the_density(gen, kind):
    prior = random_prior(kind, 2, gen)
    z, cell = grid()
    n, c = 20_000, 3
    with torch.no_grad():
        p = prior.log_prob(z, of_class(c, len(z))).exp()[:, None] * cell
        mean = (p * z).sum(dim=0)
        variance = (p * (z - mean).square()).sum(dim=0)
        drawn = prior(torch.randn(n, 2, generator=gen, dtype=torch.float64), of_class(c, n))
    assert bool(((drawn.mean(dim=0) - mean).abs() < 5 * (variance / n).sqrt()).all())
    torch.testing.assert_close(drawn.var(dim=0), variance, rtol=0.1, atol=0)


def test_log_prob_agrees_with_torch_distributions_where_it_has_a_closed_form(gen):
    z, y = codes(gen, 3)
    expected = D.Normal(0.0, 1.0).log_prob(z).sum(dim=1)
    torch.testing.assert_close(priors.Normal().log_prob(z, y), expected)
    prior = random_prior("class", 3, gen)
    of_classes = D.Normal(prior.mu, torch.exp(prior.logvar / 2))  # row c is class c's, as are those of z
    torch.testing.assert_close(prior.log_prob(z, y), of_classes.log_prob(z).sum(dim=1))


@pytest.mark.parametrize("kind", ["normal", "class"])
def test_kl_agrees_with_torch_distributions(gen, kind):
    prior = random_prior(kind, 3, gen)
    mu, y = codes(gen, 3)
    logvar, z = codes(gen, 3)[0], codes(gen, 3)[0]
    p = D.Normal(prior.mu, torch.exp(prior.logvar / 2)) if kind == "class" else D.Normal(0.0, 1.0)
    expected = D.kl_divergence(D.Normal(mu, torch.exp(logvar / 2)), p).sum(dim=1)
    torch.testing.assert_close(prior.kl(mu, logvar, z, y), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_the_kl_over_codes_is_the_integral(gen, kind):
    """KL = integral of q (log q - log p), by a sum over a fine grid; the flow's has no closed form."""
    prior, n, c = random_prior(kind, 2, gen), 20_000, 7
    mu, logvar = torch.tensor([[0.7, -0.4]], dtype=torch.float64), torch.tensor([[-1.0, 0.3]]).double()
    q = D.Normal(mu, torch.exp(logvar / 2))
    grid_z, cell = grid()
    with torch.no_grad():
        log_q = q.log_prob(grid_z).sum(dim=1)
        log_p = prior.log_prob(grid_z, of_class(c, len(grid_z)))
        exact = float((log_q.exp() * (log_q - log_p)).sum()) * cell
        z = mu + torch.exp(logvar / 2) * torch.randn(n, 2, generator=gen, dtype=torch.float64)
        kl = prior.kl(mu.expand(n, 2), logvar.expand(n, 2), z, of_class(c, n))
    assert exact > 0.1
    assert float(kl.mean()) == pytest.approx(exact, abs=5 * float(kl.std()) / n**0.5 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_prior_of_a_fresh_network_is_the_standard_normal(cvae_params, gen, kind):
    for couplings in (1, 2):
        changes = {"prior": kind, "couplings": couplings, "flow_hidden": 8, "latent_dim": 3}
        prior = cvae.build(cvae_params.model_copy(update=changes), DIGITS, seed=0).prior
        z, y = (part.float() for part in codes(gen, 3))
        expected = D.Normal(0.0, 1.0).log_prob(z).sum(dim=1)
        torch.testing.assert_close(prior.log_prob(z, y), expected)
        # A flow's couplings turn z over, which N(0, I) does not feel.
        torch.testing.assert_close(prior(z, y).sort(dim=1).values, z.sort(dim=1).values)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_learned_prior_depends_on_the_class(gen, kind):
    prior = random_prior(kind, 2, gen)
    z, eps = codes(gen, 2, n=1)[0], codes(gen, 2, n=1)[0]
    densities = [float(prior.log_prob(z, of_class(c, 1)).detach()) for c in range(10)]
    drawn = [prior(eps, of_class(c, 1)).detach().numpy().tobytes() for c in range(10)]
    assert len(set(densities)) == len(set(drawn)) == (1 if kind == "normal" else 10)


def test_each_coupling_of_a_flow_depends_on_the_class_by_itself(gen):
    flow = random_prior("flow", 2, gen)
    with torch.no_grad():
        flow.base.mu.zero_()
        flow.base.logvar.zero_()
    z = codes(gen, 2, n=1)[0]
    for coupling in flow.couplings:
        assert not torch.allclose(coupling(z, of_class(3, 1)), coupling(z, of_class(4, 1)))


@pytest.mark.parametrize("latent_dim", [2, 3])
def test_a_flow_changes_every_dimension(gen, latent_dim):
    """Without the turns between couplings, the first dimensions would keep the base's values."""
    flow = random_prior("flow", latent_dim, gen, couplings=2)
    eps, y = codes(gen, latent_dim)
    z, base = flow(eps, y), flow.base(eps, y)
    for i in range(latent_dim):
        for j in range(latent_dim):
            assert not torch.allclose(z[:, i], base[:, j]), (i, j)


@pytest.mark.parametrize("kind", ["class", "flow"])
def test_the_kl_trains_every_parameter_of_a_learned_prior(gen, kind):
    prior = random_prior(kind, 4, gen)
    z, y = codes(gen, 4)
    prior.kl(torch.zeros_like(z), torch.zeros_like(z), z, y).sum().backward()
    for name, parameter in prior.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def test_a_fresh_flow_can_leave_the_identity(gen):
    """Its gains are 0, so that only they and the base have a gradient at first, but they have one."""
    flow = fresh("flow", 4).double()
    z, y = codes(gen, 4)
    flow.kl(torch.zeros_like(z), torch.zeros_like(z), z, y).sum().backward()
    for coupling in flow.couplings:
        assert int((coupling.gain.grad != 0).sum()) == len(coupling.gain)


def test_a_flow_with_huge_weights_stays_finite(gen):
    flow = random_prior("flow", 4, gen).float()
    with torch.no_grad():
        for coupling in flow.couplings:
            coupling.gain.mul_(1e4)
    z, y = (part.float() for part in codes(gen, 4))
    assert bool(flow.log_prob(z, y).isfinite().all())
    assert bool(flow(z, y).isfinite().all())
