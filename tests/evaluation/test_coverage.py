"""95 % intervals hold the expected value in 93 to 97 % of sets drawn anew, or the text says what is given."""

import numpy as np
import pytest
import torch

from condgen.base import intervals
from condgen.evaluation import catalog, metrics
from specs import DIGITS

TIMES = 1000


def random(*shape, g):
    return torch.randn(*shape, generator=g)


def accuracy(g):
    """Classes of different difficulty, as many images of each."""
    labels = DIGITS.every_class(30)
    right = torch.rand(300, generator=g) < torch.linspace(0.85, 1, 10)[labels]
    logits = torch.nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 10), 10)
    return metrics.class_accuracy(logits, labels)[0]


def blocks(g):
    """Ten disjoint blocks, of 20 images each."""
    return metrics.kernel_distance(random(200, 4, g=g), random(200, 4, g=g) + 0.5)


def covered(g, width=0.15):
    """Real images and drawn ones in ten clusters, those of the drawn ones narrower."""
    centres = 3 * random(10, 6, g=torch.Generator().manual_seed(3))[torch.arange(400) % 10]
    samples, real = centres + width * random(400, 6, g=g), centres + random(400, 6, g=g)
    return metrics.neighbourhoods(samples, real)["coverage"]


LABELS = torch.arange(120) % 4
PATTERNS = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(4))


def decided(g):
    """Classes that vary differently around their means."""
    means = random(4, 9, g=torch.Generator().manual_seed(5))
    return metrics.label_share(means[LABELS] + (1 + LABELS[:, None] / 3) * random(120, 9, g=g), LABELS)


def structure(g):
    """Pictures of classes of which some vary more than others."""
    share = 0.2 * (1 + LABELS).view(-1, 1, 1, 1)
    maps = (1 - share) * PATTERNS[LABELS] + share * torch.rand(120, 1, 12, 12, generator=g)
    return metrics.pairwise_ssim(maps, LABELS)


def distance(g):
    return metrics.pairwise_distance(random(120, 6, g=g) * (1 + LABELS[:, None]), LABELS)


SIMULATED = {
    "class_accuracy": accuracy,
    "label_share": decided,
    "kernel_distance": blocks,
    "coverage": covered,
    "coverage_pixels": covered,
    "coverage_second": covered,
    "pairwise_ssim_interior": structure,
    "pairwise_distance": distance,
}


@pytest.mark.parametrize("draw", dict.fromkeys(SIMULATED.values()), ids=lambda draw: draw.__name__)
def test_an_interval_holds_the_expected_value_as_often_as_it_says(monkeypatch, draw):
    monkeypatch.setattr(metrics, "KID_BLOCK", 20)
    g = torch.Generator().manual_seed(0)
    found = [draw(g) for _ in range(TIMES)]
    expected = np.mean([value.value for value in found])
    assert 0.93 <= np.mean([value.low <= expected <= value.high for value in found]) <= 0.97


@pytest.mark.parametrize(
    "values",
    [
        lambda rng: rng.exponential(size=200),  # a log-likelihood, a change of pictures
        lambda rng: rng.binomial(8, 0.1, size=100) / 8,  # epochs in which a picture is read differently
        lambda rng: (rng.random(1000) < 0.02).astype(float),  # a share
    ],
    ids=["skewed", "few levels", "share"],
)
def test_an_interval_of_a_mean_holds_it_as_often_as_it_says(values):
    rng = np.random.default_rng(0)
    found = [intervals.mean(values(rng)) for _ in range(TIMES)]
    expected = np.mean([value.value for value in found])
    assert 0.93 <= np.mean([value.low <= expected <= value.high for value in found]) <= 0.97


def test_the_interval_of_a_high_coverage_is_narrower_than_it_says_and_its_text_says_so():
    g = torch.Generator().manual_seed(0)
    found = [covered(g, width=1.0) for _ in range(TIMES)]
    expected = np.mean([value.value for value in found])
    assert expected > 0.8
    assert 0.86 <= np.mean([value.low <= expected <= value.high for value in found]) <= 0.94
    for key in ("coverage", "coverage_second", "coverage_pixels"):
        assert "above 80 % it is too narrow, about a 90 % interval" in catalog.BY_KEY[key].interval


def test_every_printed_interval_is_simulated_here_or_says_what_is_given():
    for metric in catalog.METRICS:
        stated = metric.interval.startswith("none") or ", given " in metric.interval
        assert (metric.key in SIMULATED) != stated, metric.key
