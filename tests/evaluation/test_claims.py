"""A verdict follows from the intervals by the stated rule, and from nothing else."""

import itertools

import pytest

from condgen.evaluation import catalog, claims


@pytest.mark.parametrize(
    ("left", "right", "outcome"),
    [
        ((0, 1), (2, 3), "met"),
        ((2, 3), (0, 1), "refuted"),
        ((0, 2), (1, 3), "open"),
        ((0, 1), (1, 2), "open"),
        (None, (0, 1), "open"),
        ((0, 1), None, "open"),
    ],
)
def test_a_comparison_needs_intervals_that_do_not_overlap(left, right, outcome):
    assert claims.outcome(left, right) == outcome


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["met", "met"], "holds"),
        (["met", "open"], "cannot tell"),
        (["met", "refuted"], "cannot tell"),
        (["open", "open"], "cannot tell"),
        (["refuted", "open"], "cannot tell"),
        (["refuted", "refuted"], "does not hold"),
    ],
)
def test_the_verdict_follows_the_rule(outcomes, verdict):
    assert claims.verdict(outcomes) == verdict


def test_the_rule_is_symmetric():
    """A claim and its opposite are never judged by different standards."""
    mirror = {"met": "refuted", "refuted": "met", "open": "open"}
    opposite = {"holds": "does not hold", "does not hold": "holds", "cannot tell": "cannot tell"}
    for outcomes in itertools.product(mirror, repeat=3):
        assert claims.verdict([mirror[o] for o in outcomes]) == opposite[claims.verdict(outcomes)]


def test_an_undecided_verdict_has_a_reason():
    assert claims.reason([("met", ""), ("refuted", "")]) == "the measures disagree"
    assert claims.reason([("met", ""), ("open", "")]) == "intervals overlap"
    assert claims.reason([("met", ""), ("open", "")], measured=False) == "not all was measured"
    assert claims.reason([("met", "")] * 2) == claims.reason([("refuted", "")]) == ""


def test_a_verdict_says_which_kind_of_measure_disagrees():
    of_features, of_pixels = ("met", "features"), ("refuted", "pixels")
    said = claims.reason([of_features, of_features, of_pixels, ("open", "pixels")])
    assert said == "the measures disagree: met in features, refuted in pixels"
    both = [of_features, of_pixels, ("refuted", "features")]
    assert claims.reason(both) == "the measures disagree", "a space disagrees with itself: neither decides"


def test_diversity_is_judged_in_features_and_in_a_space_that_nobody_trained():
    for claim in claims.CLAIMS[1:3]:
        spaces = {c.space for c in claim.comparisons}
        assert spaces == {"the classifier's features", "a second classifier's features", "pixels"}


def test_a_metric_serves_one_claim_of_the_two_models():
    """Class accuracy was counted twice, and the flicker of readings as stability and as randomness."""
    own = [c.metric for claim in claims.CLAIMS for c in claim.comparisons if "real" not in (c.left, c.right)]
    assert len(own) == len(set(own))


def test_every_comparison_names_a_metric_with_intervals_and_known_sets():
    by_key = {metric.key: metric for metric in catalog.METRICS}
    for claim in claims.CLAIMS:
        for c in claim.comparisons:
            assert not by_key[c.metric].interval.startswith("none"), c
            assert {c.left, c.right} <= {"cvae", "cgan", "real"}


STEADY = {"picture_change": (0.01, 0.02), "reading_change": (0.0, 0.01), "class_accuracy": (0.98, 0.99),
          "label_share": (0.6, 0.7), "coverage": (0.2, 0.3), "coverage_second": (0.2, 0.3),
        "coverage_pixels": (0.3, 0.4),
          "pairwise_ssim_interior": (0.6, 0.7), "pairwise_distance": (1, 2)}  # fmt: skip
LIVELY = {"picture_change": (0.1, 0.2), "reading_change": (0.2, 0.3), "class_accuracy": (0.8, 0.9),
          "label_share": (0.3, 0.4), "coverage": (0.5, 0.6), "coverage_second": (0.5, 0.6),
        "coverage_pixels": (0.5, 0.6),
          "pairwise_ssim_interior": (0.3, 0.4), "pairwise_distance": (3, 4)}  # fmt: skip
REAL = {"coverage": (0.9, 0.95), "coverage_second": (0.9, 0.95),
        "coverage_pixels": (0.9, 0.95), "pairwise_ssim_interior": (0.2, 0.25),
        "pairwise_distance": (5, 6)}  # fmt: skip
TRAINED = {
    "cvae": {"class_accuracy": 0.98, "epochs": 25},
    "cgan": {"class_accuracy": 0.85, "epochs": 120},
    "real": {"class_accuracy": 0.99},
}


def verdicts(cvae, cgan, numbers=TRAINED):
    return [j["verdict"] for j in claims.judge({"cvae": cvae, "cgan": cgan, "real": REAL}, numbers)]


def test_made_up_models_are_judged_as_a_reader_would():
    assert verdicts(STEADY, LIVELY) == ["holds"] * 4
    assert verdicts(LIVELY, STEADY) == ["does not hold", "holds", "does not hold", "does not hold"]


@pytest.mark.parametrize(
    "metric",
    ["coverage", "pairwise_distance", "coverage_second", "coverage_pixels", "pairwise_ssim_interior"],
)
def test_a_verdict_on_diversity_that_does_not_survive_one_measure_is_open(metric):
    other = LIVELY | {metric: STEADY[metric]}
    assert verdicts(STEADY, other)[2] == "cannot tell"
    assert verdicts(STEADY | {metric: REAL[metric]}, LIVELY)[1] == "cannot tell"


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"class_accuracy": 0.11, "epochs": 3}, "the CGAN was trained for 3 epochs"),
        ({"class_accuracy": 0.11, "epochs": 120}, "the CGAN's class accuracy is 11.0 %"),
        ({"class_accuracy": 0.75, "epochs": 9}, "the CGAN was trained for 9 epochs"),
        ({"class_accuracy": 0.74}, "the CGAN's class accuracy is 74.0 %"),
    ],
)
def test_of_a_model_that_is_not_trained_nothing_is_said(numbers, why):
    judged = claims.judge({"cvae": STEADY, "cgan": LIVELY, "real": REAL}, TRAINED | {"cgan": numbers})
    too_early = ("not trained enough to tell", why)
    assert [(j["verdict"], j["reason"]) for j in judged] == [
        too_early,
        ("holds", ""),  # says nothing of the CGAN
        too_early,
        too_early,
    ]


def test_the_least_training_is_stated_and_just_enough_is_enough():
    assert f"fewer than {claims.LEAST_EPOCHS} epochs" in claims.RULE
    assert f"below {100 * claims.LEAST_ACCURACY:.0f} % of that of real images" in claims.RULE
    just = {"class_accuracy": claims.LEAST_ACCURACY * 0.99, "epochs": claims.LEAST_EPOCHS}
    assert verdicts(STEADY, LIVELY, TRAINED | {"cgan": just}) == ["holds"] * 4


def test_an_unmeasured_metric_leaves_the_claim_open():
    nothing = {"cvae": {}, "cgan": {}, "real": {}}
    judged = claims.judge(nothing, nothing)
    assert {(j["verdict"], j["reason"]) for j in judged} == {("cannot tell", "not all was measured")}
