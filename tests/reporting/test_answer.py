"""The answer says what the numbers say, and that they cannot tell where they cannot."""

import json

import pytest
from test_pictures import made_up_results

from condgen.evaluation import catalog, claims
from condgen.reporting.answer import answer
from specs import SHAPES

BELOW, ABOVE, WIDE = (0.2, 0.3), (0.5, 0.6), (0.1, 0.9)


def made_up(cvae, cgan, **changed):
    """Results with these intervals of some metrics, (0, 1) for all others."""
    keys = [metric.key for metric in catalog.METRICS]
    intervals = {name: dict.fromkeys(keys, (0, 1)) for name in ("cvae", "cgan", "real")}
    intervals["cvae"] |= cvae
    intervals["cgan"] |= cgan
    results = made_up_results()
    for name in ("cvae", "cgan"):
        results[name] |= {"class_accuracy": 0.9, "epochs": 50}
        results[name] |= {key: sum(found) / 2 for key, found in (cvae if name == "cvae" else cgan).items()}
    results["real"]["class_accuracy"] = 0.99
    results |= {"intervals": intervals, "claims": claims.judge(intervals, results)}
    return results | changed


VARIETY = {c.metric: c for claim in claims.CLAIMS if claim.text == claims.VARIETY for c in claim.comparisons}
MORE_VARIED = (
    {key: BELOW if c.left == "cvae" else ABOVE for key, c in VARIETY.items()},
    {key: ABOVE if c.left == "cvae" else BELOW for key, c in VARIETY.items()},
)


@pytest.mark.parametrize(
    ("run", "when", "said"),
    [
        ("docs/results/evaluate.json", "",
         "The CVAE draws the requested digit more often (99.9 % against 91.7 %), the CGAN's digits are "
         "sharper, and of 5 measures of variety 3 favour the CGAN and 2 the CVAE."),
        ("data/published/best.json", "With each at its best",
         "With each at its best, both models draw the requested digit about equally often (CVAE 99.0 %, CGAN "
         "99.1 %), the CGAN's digits are sharper, and of 5 measures of variety 2 favour the CVAE and 1 the "
         "CGAN."),
    ],
)  # fmt: skip
def test_the_committed_results_are_summed_up(root, run, when, said):
    assert answer(json.loads((root / run).read_text()), when) == said


def test_what_does_not_differ_is_not_said_to_differ():
    said = answer(made_up({}, {}))
    assert said == (
        "Both models draw the requested digit about equally often (CVAE 90.0 %, CGAN 90.0 %), their digits "
        "are about equally sharp, and neither model's vary visibly more."
    )


def test_either_model_may_win():
    cvae, cgan = MORE_VARIED
    sharp = {"class_accuracy": [0.84, 0.86], "sharpness": [0.8, 0.9]}
    dull = {"class_accuracy": [0.94, 0.96], "sharpness": [0.2, 0.3]}
    assert answer(made_up(cvae | dull, cgan | sharp)) == (
        "The CVAE draws the requested digit more often (95.0 % against 85.0 %), and the CGAN's digits are "
        "sharper and more varied."
    )
    assert answer(made_up(cgan | sharp, cvae | dull)) == (
        "The CGAN draws the requested digit more often (95.0 % against 85.0 %), and the CVAE's digits are "
        "sharper and more varied."
    )
    close = answer(made_up({"class_accuracy": [0.98, 0.9801]}, {"class_accuracy": [0.9802, 0.9803]}))
    assert "(98.02 % against 98.00 %)" in close, "numbers that differ look different"


def test_noise_is_not_called_sharp():
    said = answer(made_up({"sharpness": [0.2, 0.3]}, {"sharpness": [2.0, 2.2]}))
    assert "the CGAN's digits are noisier than real ones" in said
    assert "sharper" not in said


def test_one_open_measure_is_not_counted_for_anybody():
    cvae, cgan = MORE_VARIED
    said = answer(made_up(cvae | {"coverage": WIDE}, cgan | {"coverage": WIDE}))
    assert "of 5 measures of variety 4 favour the CGAN and none the CVAE" in said


def test_an_untrained_model_or_a_poor_judge_tells_nothing():
    few = made_up({}, {})
    few["cgan"]["epochs"] = 3
    assert answer(few) == "This run cannot tell: the CGAN was trained for 3 epochs."
    deaf = made_up({"class_accuracy": [0.1, 0.2]}, {})
    assert answer(deaf) == "This run cannot tell: the CVAE's class accuracy is 15.0 %."
    poor = made_up({}, {}, classifier={"test_accuracy": 0.61})
    assert (
        answer(poor)
        == "This run cannot tell: the classifier that judges is right for only 61.0 % of real digits."
    )


def test_the_words_are_those_of_the_data_set():
    said = answer(made_up({}, {}, classes=list(SHAPES.classes)))
    assert "requested class" in said
    assert "their images" in said
    assert "digit" not in said
