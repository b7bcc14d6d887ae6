"""A model without what only its training needs draws the same; what drawing needs may not be left out."""

import numpy as np
import pytest
import torch

from condgen.base import files
from condgen.base.errors import UserError
from condgen.models import cgan, cvae, split_state
from condgen.sampling import generator
from specs import DIGITS, SHAPES

LABELS = torch.arange(30) % 3
KINDS = {
    "cvae": (cvae, DIGITS, {}),
    "cvae with a flow, in colour": (
        cvae, SHAPES, {"prior": "flow", "network": "conv", "channels": 2, "couplings": 2, "flow_hidden": 4},
    ),
    "cgan": (cgan, DIGITS, {}),
    "cgan with convolutions": (
        cgan, DIGITS,
        {"network": "conv", "channels": 2, "dropout": 0.0, "spectral_norm": True,
         "conditioning": "projection"},
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS, ids=lambda name: name.replace(" ", "-"))
def whole(request, tmp_path):
    """A model of each kind, as its stage writes it."""
    module, spec, change = KINDS[request.param]
    name = module.__name__.rpartition(".")[2]
    p = request.getfixturevalue(f"{name}_params").model_copy(update={"hidden": 16} | change)
    files.write_model(tmp_path / "whole", *split_state(module.build(p, spec, 0).eval(), name))
    return generator.load(tmp_path / "whole")


def stored(folder, model, dtype=torch.float32):
    files.write_model(folder, *generator.slim(model, dtype))
    return generator.load(folder)


def test_what_drawing_needs_draws_the_same_pictures(whole, tmp_path):
    alone = stored(tmp_path / "alone", whole)
    assert np.array_equal(alone.images(LABELS, "a", 0), whole.images(LABELS, "a", 0))
    kept = files.read_model(tmp_path / "alone")[0]
    assert 0 < len(kept) < len(whole.network.state_dict())
    assert not [name for name in kept if name.startswith(("D.", "encoder.", "down.", "mu.", "logvar."))]


def test_weights_in_float16_draw_within_one_grey_level(whole, tmp_path):
    half = stored(tmp_path / "half", whole, torch.float16)
    tensors = files.read_model(tmp_path / "half")[0].values()
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float16}
    difference = half.images(LABELS, "a", 0).astype(int) - whole.images(LABELS, "a", 0)
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (["D.out.bias"], "left_out must hold names and shapes"),
        ({"D.out.bias": [-1]}, "left_out must hold names and shapes"),
        ({"D.out.bias": "1"}, "left_out must hold names and shapes"),
        ({"D.out.bias": [2]}, r"D.out.bias is float32 \[2\], but by config.json it must be float32 \[1\]"),
        ({}, "D.out.bias is absent"),
        ({"E.out.bias": [1]}, "E.out.bias is float32 .*must be absent"),
        ({"G.out.bias": [784]}, "left_out names G.out.bias, but drawing needs it"),
    ],
)
def test_what_is_left_out_is_checked(cgan_params, tmp_path, left_out, said):
    model = cgan.build(cgan_params, DIGITS, 0).eval()
    state, config = split_state(model, "cgan")
    gone = ["D.out.bias", *(name for name in ("G.out.bias",) if name in left_out)]
    whole = {"D.out.bias": [1]} if "G.out.bias" in left_out or "E.out.bias" in left_out else {}
    for name in gone:
        del state[name]
    files.write_model(tmp_path, state, config | {"left_out": whole | left_out if whole else left_out})
    with pytest.raises(UserError, match=said) as error:
        generator.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.attack
def test_a_shape_that_is_only_claimed_takes_no_memory(cgan_params, tmp_path):
    state, config = split_state(cgan.build(cgan_params, DIGITS, 0), "cgan")
    del state["D.out.bias"]
    for shape in ([2**31 - 1] * 2, [2**31 - 1] * 9):
        files.write_model(tmp_path, state, config | {"left_out": {"D.out.bias": shape}})
        with pytest.raises(UserError):
            generator.load(tmp_path)
