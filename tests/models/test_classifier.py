"""The yardstick reads digits, and what it says of an image does not depend on the others."""

import pytest
import torch
from condgen.errors import UserError

from condgen import classifier, data, training


def train(split, p):
    state = classifier.start(p, len(split.train))
    rows = list(classifier.train(state, split, p, training.Progress("classifier", p.epochs)))
    return state.model, rows


def test_it_learns_to_read_and_the_same_seed_reads_the_same(split, classifier_params):
    p = classifier_params.model_copy(update={"epochs": 3})
    model, rows = train(split, p)
    loss, accuracy = classifier.score(model, split.test)
    assert accuracy > 0.93, "3,600 digits are enough for that"
    assert 0 < loss < 0.3
    assert rows[-1][1]["train_loss"] < rows[0][1]["train_loss"]
    again, _ = train(split, p)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("steps", [17, 2201])
def test_the_schedule_is_pytorchs_one_cycle(steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.Adam([weight], lr=0.003)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.003, total_steps=steps)
    for step in range(steps - 1):
        lr, beta1 = classifier.one_cycle(step, steps, 0.003)
        group = theirs.param_groups[0]
        assert (lr, beta1) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        theirs.step()
        schedule.step()


def test_a_step_uses_the_schedule():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = classifier.OneCycleAdam([weight], 0.5, 11)
    moved = []
    for _ in range(10):
        weight.grad, before = torch.ones(1), float(weight.detach())
        optimizer.step()
        moved.append(before - float(weight.detach()))
    # A gradient that is always 1 moves a weight by about lr: nearly nothing, 0.5, nearly nothing.
    assert moved[0] == pytest.approx(0.5 / 25, rel=1e-3)
    assert 0.3 < max(moved) <= 0.5
    assert moved[-1] < 0.1 * max(moved)


def test_reading_does_not_depend_on_the_batch(split, classifier_params):
    model = classifier.build(classifier_params)
    x = split.test.x[:5]
    features, logits = classifier.read(model, x)
    assert features.shape == (5, 128)
    assert bool((features >= 0).all())
    one_features, one_logits = classifier.read(model, x[2:3])
    torch.testing.assert_close(features[2:3], one_features)
    torch.testing.assert_close(logits[2:3], one_logits)


def test_samples_on_which_nothing_can_be_trained_are_said_in_one_line(split, classifier_params):
    nothing = data.Images(torch.full((200, 784), float("nan")), torch.arange(200) % 10)
    progress = training.Progress("GAN-train on toy", 1, "classifier")
    with pytest.raises(
        UserError,
        match=r"^GAN-train on toy: train_loss is nan in step 1 of epoch 1: .* smaller classifier\.lr$",
    ):
        classifier.gan_train(classifier_params, 1, nothing, split, progress)
