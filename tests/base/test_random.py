"""Every random number depends on seed, stream and epoch, and on nothing else."""

import pytest
import torch

from condgen.base.random import dropout_mask, generator


def draw(*key):
    return torch.randn(100, generator=generator(*key))


def test_the_same_key_gives_the_same_numbers():
    first = draw(0, "a", 1)
    torch.manual_seed(5)
    assert torch.equal(first, draw(0, "a", 1))


@pytest.mark.parametrize("other", [(1, "a", 1), (0, "b", 1), (0, "a", 2), (1, "a", 0)])
def test_each_part_of_the_key_matters(other):
    assert not torch.equal(draw(0, "a", 1), draw(*other))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw(3, "x")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.25, 0.3, 0.5, 0.9, 0.95])
def test_a_dropout_mask_drops_its_share_and_keeps_the_mean(rate, gen):
    mask = dropout_mask(rate, (400, 501), gen)
    assert mask.shape == (400, 501)
    dropped = float((mask == 0).float().mean())
    assert dropped == pytest.approx(rate, abs=0.006)
    assert float(mask.mean()) == pytest.approx(1, abs=0.02)
    assert len(mask.unique()) == (1 if rate == 0 else 2)


def test_masks_of_an_accelerator_drop_the_same_share(gen, monkeypatch):
    class Elsewhere:  # claims not to be on the CPU; torch.rand is replaced below
        device = torch.device("meta")

    drawn = torch.rand(400, 500, generator=gen)
    monkeypatch.setattr(torch, "rand", lambda shape, generator, device: drawn)
    mask = dropout_mask(0.25, (400, 500), Elsewhere())
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.006)
    assert float(mask.max()) == pytest.approx(1 / 0.75)


def test_dropout_masks_of_different_units_are_independent(gen):
    mask = (dropout_mask(0.5, (1000, 128), gen) > 0).double()
    correlation = torch.corrcoef(mask.T) - torch.eye(128)
    # 8,128 correlations of 1,000 coin tosses: the largest exceeds 0.16 in about 3 of 1,000 draws.
    assert float(correlation.abs().max()) < 0.16
