"""A verdict follows from the intervals by the stated rule, and from nothing else."""

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
        (["refuted", "open"], "does not hold"),
        (["refuted", "refuted"], "does not hold"),
    ],
)
def test_the_verdict_follows_the_rule(outcomes, verdict):
    assert claims.verdict(outcomes) == verdict


def test_an_undecided_verdict_has_a_reason():
    assert claims.reason(["met", "refuted"]) == "the measures disagree"
    assert claims.reason(["met", "open"]) == "intervals overlap"
    assert claims.reason(["met", "met"]) == claims.reason(["refuted"]) == ""


def test_every_comparison_names_a_metric_with_intervals_and_known_sets():
    by_key = {metric.key: metric for metric in catalog.METRICS}
    for claim in claims.CLAIMS:
        for c in claim.comparisons:
            assert not by_key[c.metric].interval.startswith("none"), c
            assert {c.left, c.right} <= {"cvae", "cgan", "real"}


def test_made_up_models_are_judged_as_a_reader_would():
    steady = {"picture_change": (0.01, 0.02), "reading_change": (0.0, 0.01), "class_accuracy": (0.98, 0.99),
              "recall": (0.1, 0.2), "coverage": (0.2, 0.3), "pairwise_ssim": (0.6, 0.7),
              "pairwise_distance": (1, 2)}  # fmt: skip
    lively = {"picture_change": (0.1, 0.2), "reading_change": (0.2, 0.3), "class_accuracy": (0.8, 0.9),
              "recall": (0.5, 0.6), "coverage": (0.5, 0.6), "pairwise_ssim": (0.3, 0.4),
              "pairwise_distance": (3, 4)}  # fmt: skip
    real = {
        "class_accuracy": (0.996, 0.998),
        "recall": (0.9, 0.95),
        "coverage": (0.9, 0.95),
        "pairwise_ssim": (0.2, 0.25),
        "pairwise_distance": (5, 6),
    }
    verdicts = [j["verdict"] for j in claims.judge({"cvae": steady, "cgan": lively, "real": real})]
    assert verdicts == ["holds"] * 4
    swapped = [j["verdict"] for j in claims.judge({"cvae": lively, "cgan": steady, "real": real})]
    assert swapped[:3] == ["does not hold", "holds", "does not hold"]
    assert swapped[3] == "cannot tell", "more accurate than the other model, but less than real digits"


def test_an_unmeasured_metric_leaves_the_claim_open():
    nothing = {"cvae": {}, "cgan": {}, "real": {}}
    assert {j["verdict"] for j in claims.judge(nothing)} == {"cannot tell"}
