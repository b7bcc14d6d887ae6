"""The yardstick reads digits, and what it says of an image does not depend on the others."""

import torch

from condgen import classifier, training


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


def test_reading_does_not_depend_on_the_batch(split, classifier_params):
    model = classifier.build(classifier_params)
    x = split.test.x[:5]
    features, logits = classifier.read(model, x)
    assert features.shape == (5, 128)
    assert bool((features >= 0).all())
    one_features, one_logits = classifier.read(model, x[2:3])
    torch.testing.assert_close(features[2:3], one_features)
    torch.testing.assert_close(logits[2:3], one_logits)
