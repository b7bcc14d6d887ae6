"""A program holds what its generator draws with, as exactly as fits into the page."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from condgen.base import files
from condgen.models import MODELS
from condgen.sampling import drawing, program
from generators import KINDS, generator, generators
from specs import DIGITS


@pytest.fixture
def params(cvae_params, cgan_params):
    return {"cvae": cvae_params, "cgan": cgan_params}


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def opened(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["program"]), load_file(path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_becomes_a_program_and_the_same_one_each_time(tmp_path, params, kind):
    for folder in ("a", "b"):
        program.write(tmp_path / folder, generators(kind, params))
    assert written(tmp_path / "a") == written(tmp_path / "b")
    for name, model in generators(kind, params).items():
        about, tensors = opened(tmp_path / f"a/{name}.safetensors")
        spec = model.spec
        assert about["latent_dim"] == model.latent_dim
        assert about["classes"] == list(spec.classes)
        named = {value for step in about["steps"] for value in step.values() if isinstance(value, str)}
        assert set(tensors) <= named | {"separators"}, "no number is there in vain: no encoder, no D"
        if spec == DIGITS:
            glyphs = np.stack([drawing.glyph(c, spec) for c in drawing.SEPARATORS])
            assert np.array_equal(tensors["separators"], glyphs)
    said = files.read_json(tmp_path / "a/playground.json")
    assert {name: about["weights"] for name, about in said.items()} == dict.fromkeys(MODELS, "float32")


def test_weights_are_rounded_to_nearest(gen):
    weight = torch.randn(6, 5, 3, 3, generator=gen) * torch.logspace(-4, 2, 6).view(6, 1, 1, 1)
    assert torch.equal(program.decode(program.encode(weight, "float32")), weight)
    half = program.decode(program.encode(weight, "float16"))
    assert torch.equal(half, weight.half().float())
    rows = program.encode(weight, "int8")
    assert rows[""].dtype == np.int8
    step = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    away = (program.decode(rows) - weight).abs() / step
    assert away.max() <= 0.501, "at most half a step, whatever the size of a row's weights"
    assert np.abs(rows[""]).max() == 127
    assert torch.equal(program.decode(program.encode(torch.zeros(2, 3), "int8")), torch.zeros(2, 3))


def test_the_largest_model_is_rounded_first_and_left_out_last(tmp_path, params):
    models = {name: generator(name, params[name]) for name in MODELS}
    exact = {name: program.characters(program.pack(model)) for name, model in models.items()}
    assert exact["cvae"] > exact["cgan"]

    def kept(most):
        program.write(tmp_path / str(most), models, most)
        said = files.read_json(tmp_path / f"{most}/playground.json")
        there = list((tmp_path / str(most)).glob("*.safetensors"))
        assert {path.stem for path in there} == {n for n, about in said.items() if "left_out" not in about}
        assert sum(program.characters(path.read_bytes()) for path in there) <= most
        return said

    all_of_it = kept(sum(exact.values()))
    assert [about["weights"] for about in all_of_it.values()] == ["float32", "float32"]
    one_less = kept(sum(exact.values()) - 1)
    assert [about["weights"] for about in one_less.values()] == ["float16", "float32"]
    assert 0 < one_less["cvae"]["mean_difference"] < one_less["cvae"]["largest_difference"] < 10
    least = {name: program.characters(program.pack(model, "int8")) for name, model in models.items()}
    tight = kept(sum(least.values()))
    assert [about["weights"] for about in tight.values()] == ["int8", "int8"]
    assert tight["cvae"]["mean_difference"] > one_less["cvae"]["mean_difference"]
    tighter = kept(sum(least.values()) - 1)
    assert "there is room for" in tighter["cvae"]["left_out"]
    assert "weights" in tighter["cgan"]
    assert all("room" in about["left_out"] for about in kept(10).values())


def test_a_model_without_labels_is_left_out_with_the_reason(tmp_path, params):
    models = {name: generator(name, p) for name, p in params.items()}
    models["cvae"] = generator("cvae", params["cvae"].model_copy(update={"conditional": False}))
    program.write(tmp_path, models)
    said = files.read_json(tmp_path / "playground.json")
    assert "trained without labels (cvae.conditional is false)" in said["cvae"]["left_out"]
    assert not (tmp_path / "cvae.safetensors").exists()
    assert said["cgan"]["numbers"] == sum(p.numel() for p in models["cgan"].network.G.parameters())
