"""Every combination of the models' options trains or is refused, and can be written and read again."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from pydantic import ValidationError

from condgen.base import files
from condgen.datasets import data
from condgen.models import cgan, cvae, restore, split_state
from condgen.training.loop import train
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import DIGITS

SMALL = {"hidden": 8, "channels": 2, "latent_dim": 4, "batch_size": 20, "epochs": 1}
OF_CVAE = {
    "network": ("mlp", "conv"),
    "prior": ("normal", "class", "flow"),
    "conditional": (True, False),
    "step": (("constant", 0.0), ("linear", 0.9), ("cosine", 0.0)),  # lr_schedule and ema
}
OF_CGAN = {
    "network": ("mlp", "conv"),
    "conditioning": ("concat", "projection"),
    "loss": ("non-saturating", "min-max", "hinge", "relativistic"),
    "regular": ((False, 0.0), (True, 0.0), (True, 1.0)),  # spectral_norm and r1
    "conditional": (True, False),
}


def combinations(options):
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


@pytest.fixture
def few(split):
    parts = (data.Images(part.x[:40], part.y[:40]) for part in (split.train, split.validation, split.test))
    return data.Split(*parts, spec=DIGITS, source="few")


def trained(module, p, few):
    """The trained network and its numbers, after two steps."""
    state = begin(module, p, DIGITS, 0, len(few.train))
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    ((_, numbers),) = train(module, state, few, p, 0, Progress(p.section, p.epochs))
    for name, value in state.model.named_parameters():
        assert bool(value.isfinite().all()), name
        if value.ndim > 1:  # batch normalisation and a relativistic loss cancel some biases
            assert not torch.equal(value, before[name]), name
    assert all(torch.tensor(value).isfinite() for value in numbers.values())
    return state.trained


def drawn(module, network):
    z = torch.randn(20, network.config["latent_dim"], generator=torch.Generator().manual_seed(5))
    images = module.draw(network, z, torch.arange(20) % 10)
    assert images.shape == (20, 784)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    return images


def parameters(p, changes):
    """The section with changes, checked as params.yaml is; None if it is refused."""
    try:
        return type(p)(**p.model_dump() | SMALL | changes)
    except ValidationError:
        return None


@pytest.mark.parametrize("network", OF_CVAE["network"])
@pytest.mark.parametrize("prior", OF_CVAE["prior"])
def test_every_combination_of_the_cvaes_options_trains_or_is_refused(cvae_params, few, network, prior):
    for options in combinations(OF_CVAE | {"network": (network,), "prior": (prior,)}):
        schedule, ema = options.pop("step")
        options |= {"lr_schedule": schedule, "ema": ema, "flow_hidden": 8, "couplings": 2}
        p = parameters(cvae_params, options)
        assert (p is None) == (prior != "normal" and not options["conditional"]), options
        if p:
            drawn(cvae, trained(cvae, p, few))


@pytest.mark.parametrize("network", OF_CGAN["network"])
@pytest.mark.parametrize("conditioning", OF_CGAN["conditioning"])
def test_every_combination_of_the_cgans_options_trains_or_is_refused(cgan_params, few, network, conditioning):
    for options in combinations(OF_CGAN | {"network": (network,), "conditioning": (conditioning,)}):
        normal, r1 = options.pop("regular")
        options |= {"spectral_norm": normal, "r1": r1, "r2": r1 / 2}
        options |= {"dropout": 0.5 if network == "mlp" else 0.0}
        p = parameters(cgan_params, options)
        assert (p is None) == (conditioning == "projection" and not options["conditional"]), options
        if p:
            drawn(cgan, trained(cgan, p, few))


@pytest.mark.parametrize("name", ["cvae", "cgan"])
def test_convolutions_train_on_batches_of_one_image(cvae_params, cgan_params, few, name):
    """Batch normalisation then has the 7 x 7 positions and more of one image to take a mean of."""
    module, p = {"cvae": (cvae, cvae_params), "cgan": (cgan, cgan_params)}[name]
    changes = {"network": "conv", "batch_size": 1} | ({"dropout": 0.0} if name == "cgan" else {})
    some = replace(few, train=data.Images(few.train.x[:10], few.train.y[:10]))
    drawn(module, trained(module, parameters(p, changes), some))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cvae", {"network": "conv", "prior": "flow", "flow_hidden": 8, "couplings": 3, "ema": 0.9}),
        ("cvae", {"prior": "class", "layers": 2}),
        ("cvae", {"network": "conv", "conditional": False}),
        ("cgan", {"network": "conv", "dropout": 0.0, "conditioning": "projection", "spectral_norm": True}),
        ("cgan", {"spectral_norm": True, "ema": 0.9, "loss": "hinge"}),
        ("cgan", {"network": "conv", "dropout": 0.0, "conditional": False, "ema": 0.5}),
    ],
    ids=str,
)
def test_a_network_that_was_written_and_read_again_draws_the_same(
    cvae_params, cgan_params, few, tmp_path, name, changes
):
    module, p = {"cvae": (cvae, cvae_params), "cgan": (cgan, cgan_params)}[name]
    network = trained(module, parameters(p, changes), few)
    files.write_model(tmp_path, *split_state(network, name))
    again = restore(module, *files.read_model(tmp_path))
    assert not again.training
    assert torch.equal(drawn(module, network), drawn(module, again))
    x, y = few.test.x, DIGITS.one_hot(few.test.y)
    answers = [net.encode(x, y)[0] if name == "cvae" else net.discriminate(x, y) for net in (network, again)]
    assert torch.equal(*answers)
