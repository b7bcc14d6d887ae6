"""The article's claims over seeds: intervals of the mean over training runs, and the report's own rule."""

import pytest
from pandas import DataFrame
from scipy import stats

from condgen.evaluation import claims
from condgen.experiments import replication

STEADY = {"picture_change": 0.01, "reading_change": 0.005, "class_accuracy": 0.99, "label_share": 0.7,
          "coverage": 0.2, "coverage_second": 0.2,
        "coverage_pixels": 0.3, "pairwise_ssim_interior": 0.6, "pairwise_distance": 1.0,
          "recall": 0.1, "epochs": 25}  # fmt: skip
LIVELY = {"picture_change": 0.1, "reading_change": 0.2, "class_accuracy": 0.9, "label_share": 0.4,
          "coverage": 0.5, "coverage_second": 0.5,
        "coverage_pixels": 0.6, "pairwise_ssim_interior": 0.4, "pairwise_distance": 2.0,
          "recall": 0.5, "epochs": 120}  # fmt: skip
REAL = {"class_accuracy": 0.997, "coverage": 0.9, "coverage_second": 0.9,
        "coverage_pixels": 0.9, "pairwise_ssim_interior": 0.3,
        "pairwise_distance": 3.0}  # fmt: skip


def rows(seeds, spread, without=(), **settings):
    """Runs around known means, `spread` apart."""
    runs = []
    for i in range(seeds):
        off = spread * (i - (seeds - 1) / 2)
        metrics = {
            f"metrics.{name}.{key}": value + off * (key != "epochs")
            for name, means in {"cvae": STEADY, "cgan": LIVELY, "real": REAL}.items()
            for key, value in means.items()
            if key not in without
        }
        params = {f"params.{key}": value for key, value in ({"seed": str(i)} | settings).items()}
        runs.append({"start_time": i, "tags.mlflow.runName": f"run{i}"} | params | metrics)
    return replication.rows(DataFrame(runs))


def test_an_interval_is_that_of_a_mean_of_few_runs():
    (row,) = rows(5, 0.01)
    values = [STEADY["coverage"] + 0.01 * i for i in (-2, -1, 0, 1, 2)]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert replication.intervals(row)["cvae"]["coverage"] == pytest.approx(tuple(expected))


def test_every_metric_of_a_claim_is_looked_at_and_a_clear_case_is_judged_as_a_reader_would():
    (row,) = rows(3, 1e-4)
    verdicts = [judged["verdict"] for judged in replication.judge(row)]
    assert verdicts == ["holds", "holds", "holds", "holds"]
    text = replication.verdicts([row])
    assert text.splitlines()[0] == "3 seeds, 95 % intervals of the mean over seeds:"
    for claim in claims.CLAIMS:
        assert f"  {claim.text} holds\n" in text
    assert "    coverage: cvae [0.1998, 0.2002] < cgan [0.4998, 0.5002]: met" in text


def test_seeds_that_differ_more_than_the_models_tell_nothing():
    (row,) = rows(3, 0.5)
    text = replication.verdicts([row])
    assert text.count("cannot tell (intervals overlap)") == len(claims.CLAIMS)


def test_one_seed_tells_nothing_of_other_training_runs():
    (row,) = rows(1, 0.0)
    assert set(replication.intervals(row)["cgan"].values()) == {None}
    assert replication.verdicts([row]) == "one seed: no interval over seeds, so nothing can be told"


def test_each_setting_is_judged_by_itself():
    two = rows(2, 1e-5, lr="0.1") + rows(1, 0, lr="0.2")
    for row, lr in zip(two, ("0.1", "0.2"), strict=True):
        row.settings["lr"] = lr
    heads = [line for line in replication.verdicts(two).splitlines() if not line.startswith(" ")]
    assert heads[0].startswith("lr=0.1, 2 seeds, 95 %")
    assert heads[1].startswith("lr=0.2, one seed: ")


def test_what_a_short_training_does_not_measure_is_open():
    (row,) = rows(3, 1e-4, without=["picture_change"])
    text = replication.verdicts([row])
    assert "    picture_change: cvae (unmeasured) < cgan (unmeasured): open" in text
    assert "  The CVAE is relatively stable. cannot tell (not all was measured)\n" in text
    assert "intervals overlap" not in text


def test_nothing_is_said_of_models_that_were_hardly_trained():
    (row,) = rows(3, 1e-4)
    row.values["cgan.epochs"] = (3.0, 0.0)
    text = replication.verdicts([row])
    assert text.count("not trained enough to tell (the CGAN was trained for 3 epochs)") == 3
