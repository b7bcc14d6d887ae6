"""What drawing costs is counted from what runs, and agrees with a count by hand."""

import pytest
import torch

from condgen.base import files
from condgen.models import cgan, cvae, split_state
from condgen.sampling import cost, generator
from specs import DIGITS


def stored(folder, kind, name, p):
    files.write_model(folder, *split_state(kind.build(p, DIGITS, seed=0), name))
    return generator.load(folder)


def test_the_articles_cgan_draws_with_its_generator_only(tmp_path, cgan_params):
    found = cost.counts(stored(tmp_path / "m", cgan, "cgan", cgan_params))
    layers = [(110, 128), (128, 128), (128, 784)]
    assert found["parameters"] == sum(a * b + b for a, b in layers)
    assert found["multiply_adds"] == sum(a * b for a, b in layers)


def test_the_articles_cvae_draws_with_its_decoder_only(tmp_path, cvae_params):
    found = cost.counts(stored(tmp_path / "m", cvae, "cvae", cvae_params))
    layers = [(12, 512), (512, 784)]
    assert found["parameters"] == sum(a * b + b for a, b in layers)
    assert found["multiply_adds"] == sum(a * b for a, b in layers)


def test_a_flow_prior_and_convolutions_count(tmp_path, cvae_params, cgan_params):
    plain = cost.counts(stored(tmp_path / "a", cvae, "cvae", cvae_params))
    p = cvae_params.model_copy(update={"prior": "flow", "couplings": 1, "flow_hidden": 4})
    flow = cost.counts(stored(tmp_path / "b", cvae, "cvae", p))
    # 1 + 10 -> 4 -> 4 -> 2, a gain of 2, and ten means and variances of 2; mu_c and sigma_c are products too.
    assert flow["parameters"] - plain["parameters"] == (11 * 4 + 4) + (4 * 4 + 4) + (4 * 2 + 2) + 2 + 40
    assert flow["multiply_adds"] - plain["multiply_adds"] == 11 * 4 + 4 * 4 + 4 * 2 + 2 * 10 * 2
    conv = cgan_params.model_copy(update={"network": "conv", "dropout": 0.0, "channels": 2})
    found = cost.counts(stored(tmp_path / "c", cgan, "cgan", conv))
    dense, up1, up2, last = 110 * 8 * 49, 8 * 4 * 16 * 49, 4 * 2 * 16 * 196, 2 * 9 * 784
    assert found["multiply_adds"] == dense + up1 + up2 + last


def test_the_speed_is_positive_and_the_counting_leaves_the_model_as_it_was(tmp_path, cvae_params):
    model = stored(tmp_path / "m", cvae, "cvae", cvae_params)
    z, labels = torch.randn(5, 2), torch.arange(5)
    before = model.draw(z, labels)
    cost.counts(model)
    assert set(cost.speed(model)) == {"draw_bulk_per_second", "draw_single_per_second"}
    assert min(cost.speed(model).values()) > 0
    assert (model.draw(z, labels) == before).all()
    assert not any(module._forward_hooks for module in model.network.modules())


def test_read_costs_says_what_is_missing(tmp_path):
    from condgen.base.errors import UserError
    from condgen.evaluation import suite

    path = tmp_path / "sample.json"
    whole = {name: {"parameters": 1, "multiply_adds": 2} for name in ("cvae", "cgan")}
    files.write_json(path, whole)
    assert suite.read_costs(str(path)) == whole
    files.write_json(path, whole | {"cgan": {"parameters": 1}})
    with pytest.raises(UserError, match=r"cgan.multiply_adds is None, but must be a number"):
        suite.read_costs(str(path))
