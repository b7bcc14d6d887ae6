"""The classifier learns digits, and its output for an image does not depend on the batch."""

import pytest
import torch

from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.evaluation.gan_train import gan_train
from condgen.models import classifier
from condgen.training import loop
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import DIGITS, SHAPES


def train(split, p):
    state = begin(classifier, p, DIGITS, p.seed, len(split.train))
    rows = list(loop.train(classifier, state, split, p, p.seed, Progress("classifier", p.epochs)))
    return state.trained, rows


def test_it_learns_digits_and_the_same_seed_gives_the_same_weights(split, classifier_params):
    p = classifier_params.model_copy(update={"epochs": 3})
    model, rows = train(split, p)
    loss, accuracy = classifier.score(model, split.test)
    assert accuracy > 0.93, "3,600 digits are enough for that"
    assert 0 < loss < 0.3
    assert rows[-1][1]["train_loss"] < rows[0][1]["train_loss"]
    again, _ = train(split, p)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_zero(classifier_params):
    """One cycle (Smith & Topin 2018) over all steps of all epochs."""
    p = classifier_params.model_copy(update={"epochs": 3, "batch_size": 100})
    state = begin(classifier, p, DIGITS, 0, images=1000)
    group, used = state.optimizers["model"].param_groups[0], []
    for _ in range(30):
        used.append((group["lr"], group["betas"][0]))
        state.optimizers["model"].step()
        state.schedules["model"].step()
    rates, betas = zip(*used, strict=True)
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(p.lr, rel=1e-2)
    assert 7 <= peak <= 9, "30 % of the way"
    assert list(rates[: peak + 1]) == sorted(rates[: peak + 1])
    assert list(rates[peak:]) == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(p.lr / 25)
    assert 0 < rates[-1] < p.lr / 50
    assert betas[peak] == min(betas) == pytest.approx(0.85, abs=0.01)


def test_classifying_does_not_depend_on_the_batch(split, classifier_params):
    model = classifier.build(classifier_params, DIGITS, 0)
    x = split.test.x[:5]
    features, logits = classifier.classify(model, x)
    assert features.shape == (5, 128)
    assert bool((features >= 0).all())
    one_features, one_logits = classifier.classify(model, x[2:3])
    torch.testing.assert_close(features[2:3], one_features)
    torch.testing.assert_close(logits[2:3], one_logits)


def test_gan_train_on_nan_samples_fails_in_one_line(split, classifier_params):
    nothing = data.Images(torch.full((200, 784), float("nan")), torch.arange(200) % 10)
    progress = Progress("GAN-train on toy", 1, "classifier")
    with pytest.raises(
        UserError,
        match=r"^GAN-train on toy: train_loss is nan in step 1 of epoch 1: .* smaller classifier\.lr$",
    ):
        gan_train(classifier_params, 1, nothing, split, progress)


@pytest.mark.parametrize("spec", [DIGITS, SHAPES])
def test_shifted_images_are_the_same_ones_moved_by_up_to_so_many_pixels_each_way(spec, gen):
    """A gradient along both axes: a moved image's middle says how far it went."""
    at = torch.arange(spec.side, dtype=torch.float32) / spec.side
    image = at[:, None] + at[None, :] / 1000
    x = image.expand(200, spec.channels, -1, -1).reshape(200, -1)
    moved = spec.maps(classifier.shifted(x, 2, spec, gen))
    middle = moved[:, 0, 4, 4] * spec.side
    rows = middle.floor()
    columns = ((middle - rows) * 1000).round()
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}
    assert set(columns.tolist()) == {2, 3, 4, 5, 6}
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 25, "both axes on their own"
    whole = spec.maps(x)[0, 0]
    for i in range(20):
        down, right = int(rows[i]) - 4, int(columns[i]) - 4
        inside = moved[i, -1, 2:-2, 2:-2]
        assert torch.equal(inside, whole[2 + down : spec.side - 2 + down, 2 + right : spec.side - 2 + right])
    assert torch.isin(moved, whole).all(), "no new values at the border"


def test_without_a_shift_nothing_is_drawn_for_it(split, classifier_params):
    """The default must not change the noise of dropout, nor the results that came from it."""
    p = classifier_params.model_copy(update={"epochs": 1})
    plain, _ = train(split, p)
    other, _ = train(split, p.model_copy(update={"shift": 1}))
    assert p.shift == 0
    assert not torch.equal(plain.logits.weight, other.logits.weight)
