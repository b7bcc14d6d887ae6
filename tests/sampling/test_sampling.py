"""Which noise makes which picture."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from condgen.sampling import generator, latent
from specs import DIGITS

CPU = torch.device("cpu")


def echo(latent_dim=2):
    """A "model" whose picture shows its label and its z: pixel 0 the label, pixel 1 and 2 the code."""
    network = SimpleNamespace(config={"latent_dim": latent_dim, "conditional": True}, spec=DIGITS)
    return generator.Generator("echo", network, "", CPU)


@pytest.fixture(autouse=True)
def echo_is_a_model(monkeypatch):
    module = SimpleNamespace(draw=draw_echo)
    monkeypatch.setitem(generator.MODELS, "echo", SimpleNamespace(module=module))


def draw_echo(network, z, labels):
    x = torch.zeros(len(z), 784)
    x[:, 0] = labels / 255
    x[:, 1:3] = torch.special.ndtr(z[:, :2])
    return x


def test_every_class_gets_the_same_count_and_its_own_label():
    out = latent.sample(echo(), 13, seed=0)
    assert out["images"].shape == (130, 28, 28)
    assert out["images"].dtype == out["labels"].dtype == np.uint8
    assert np.bincount(out["labels"]).tolist() == [13] * 10
    assert np.array_equal(out["images"][:, 0, 0], out["labels"])


def test_an_image_does_not_depend_on_the_batch_it_is_drawn_in(monkeypatch):
    whole = latent.sample(echo(), 30, seed=0)["images"]
    monkeypatch.setattr(generator, "BATCH", 7)
    assert np.array_equal(whole, latent.sample(echo(), 30, seed=0)["images"])


def test_samples_depend_on_the_seed():
    a, b, c = (latent.sample(echo(), 10, seed=s)["images"] for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_manifold_runs_over_the_quantiles_right_and_up():
    m = latent.manifold(echo(), 5)
    assert m.shape == (10, 5, 5, 28, 28)
    # Pixels 1 and 2 are the quantiles of z_1 and z_2: 10 %, 30 %, ... 90 % of 255.
    shares = (np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * 255).round()
    assert np.allclose(m[4, 2, :, 0, 1], shares, atol=1)
    assert np.allclose(m[4, :, 2, 0, 2], shares[::-1], atol=1)
    assert (m[4, :, :, 0, 0] == 4).all()


def test_one_noise_is_shown_under_every_label():
    out = latent.same_noise(echo(2), 3, seed=0).reshape(10, 3, 28, 28)
    assert (out[:, :, 0, 0] == np.arange(10)[:, None]).all(), "a row is a label"
    codes = out[:, :, 0, 1:3]
    assert (codes == codes[:1]).all(), "a column is a code"
    assert len(np.unique(codes[0], axis=0)) == 3


def test_interpolation_goes_from_one_code_to_another_within_a_class():
    out = latent.interpolation(echo(2), 7, seed=0).reshape(10, 7, 28, 28)
    assert (out[:, :, 0, 0] == np.arange(10)[:, None]).all()
    assert (out[:, 0, 0, 1:3] != out[:, -1, 0, 1:3]).any()


def test_slerp_keeps_the_ends_and_the_length(gen):
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, generator=gen), dim=1)
    path = latent.slerp(a, b, torch.linspace(0, 1, 9).view(-1, 1))
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(9))
    steps = path.diff(dim=0).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(8))
    torch.testing.assert_close(latent.slerp(a, a, torch.tensor([[0.5]]))[0], a)


def test_the_table_shows_the_wanted_epochs_that_were_trained_and_always_the_last():
    labels = DIGITS.every_class(10).numpy()
    images = np.zeros((12, 100, 28, 28), np.uint8)
    images[:] = np.arange(1, 13)[:, None, None, None]
    images[:, :, 0, 0] = labels
    table = latent.table([1, 10, 25], np.arange(1, 13), images, labels)
    assert list(table) == [1, 10, 12], "25 was not trained"
    for epoch, row in table.items():
        assert row.shape == (10, 28, 28)
        assert row[:, 0, 0].tolist() == list(range(10))
        assert (row[:, 1:] == epoch).all()
    for wanted, trained, shown in (
        ([1, 10], 12, [1, 10, 12]),  # the last epoch is added
        ([12, 1], 12, [1, 12]),  # but not twice
        ([1, 10, 25], 2, [1, 2]),
        ([5], 1, [1]),
    ):
        assert list(latent.table(wanted, np.arange(1, trained + 1), images[:trained], labels)) == shown


def test_epoch_zero_is_refused():
    with pytest.raises(ValidationError):
        latent.SampleParams(per_class=10, table_epochs=[0], manifold_steps=5)
