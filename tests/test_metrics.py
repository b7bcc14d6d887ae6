"""The numbers mean what they say, and agree with an independent computation."""

import numpy as np
import pytest
import torch
from scipy import linalg

from condgen import data, metrics


def logits_for(labels, strength=5.0):
    return torch.nn.functional.one_hot(labels, 10).float() * strength


def test_class_accuracy_of_obedient_samples_is_one_and_of_shuffled_labels_a_tenth(gen):
    labels = data.every_class(500)
    accuracy, by_class = metrics.class_accuracy(logits_for(labels), labels)
    assert accuracy == 1
    assert by_class == [1.0] * 10
    shuffled = labels[torch.randperm(len(labels), generator=gen)]
    accuracy, _ = metrics.class_accuracy(logits_for(shuffled), labels)
    assert accuracy == pytest.approx(0.1, abs=0.02)


def test_class_accuracy_by_class_finds_the_bad_class():
    labels = data.every_class(10)
    read = torch.where(labels == 3, 8, labels)
    accuracy, by_class = metrics.class_accuracy(logits_for(read), labels)
    assert accuracy == pytest.approx(0.9)
    assert by_class == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]


def test_the_frechet_distance_of_a_set_to_itself_is_zero(gen):
    x = torch.randn(500, 16, generator=gen)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_shifted_gaussians_is_the_squared_shift(gen):
    x = torch.randn(500, 16, generator=gen)
    shift = torch.zeros(16)
    shift[3] = 2
    assert metrics.frechet_distance(x + shift, x) == pytest.approx(4, rel=1e-4)


def test_a_collapsed_set_is_far_even_with_the_right_mean(gen):
    x = torch.randn(2000, 16, generator=gen)
    collapsed = x.mean(dim=0) + 0.01 * torch.randn(2000, 16, generator=gen)
    # tr(S) = 16 is what is left when one of the two covariances vanishes.
    assert metrics.frechet_distance(collapsed, x) == pytest.approx(16, rel=0.1)


def test_the_frechet_distance_agrees_with_scipy(gen):
    mix = torch.randn(12, 12, generator=gen)
    x, y = torch.randn(800, 12, generator=gen), torch.randn(700, 12, generator=gen) @ mix + 0.3
    a, b = x.double().numpy(), y.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(linalg.sqrtm(s1 @ s2))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_exact_far_from_the_origin(gen):
    # In float32 the covariances of features around 3,000 would be lost in rounding.
    x, y = torch.randn(2, 800, 12, generator=gen, dtype=torch.float64)
    near, far = metrics.frechet_distance(x, 2 * y), metrics.frechet_distance(x + 3000, 2 * y + 3000)
    assert far == pytest.approx(near, rel=1e-6)


def test_the_frechet_distance_stands_features_with_dead_units(gen):
    x = torch.randn(300, 16, generator=gen).relu()
    x[:, :8] = 0  # relu features that never fire make the covariance singular
    y = torch.randn(300, 16, generator=gen).relu()
    y[:, :8] = 0
    assert 0 <= metrics.frechet_distance(x, y) < 1


def test_real_images_are_the_first_of_every_class_and_no_more_than_the_rarest_has(split):
    some = metrics.same_count_per_class(split.train, 50)
    assert torch.equal(some.y, data.every_class(50))
    first_seven = split.train.x[split.train.y == 7][0]
    assert torch.equal(some.x[350], first_seven)
    rarest = int(torch.bincount(split.train.y).min())
    assert len(metrics.same_count_per_class(split.train, 10_000)) == 10 * rarest


def test_compare_holds_every_number_and_its_sample_size(gen):
    labels = data.every_class(20)
    features = torch.randn(200, 8, generator=gen)
    numbers = metrics.compare(features, logits_for(labels), labels, features)
    assert numbers["images"] == 200
    assert metrics.headline(numbers) == {
        "class_accuracy": 1.0,
        "frechet_distance": pytest.approx(0, abs=1e-6),
    }
