"""Runs become a table: seeds are pooled, settings are not, and nothing is counted twice."""

import csv
import io

import pytest
from pandas import DataFrame

from condgen.base.errors import UserError
from condgen.experiments import pooling
from condgen.reporting import figures


def run(name, started, metrics, data="full", code="abc", **params):
    """A run as `mlflow.search_runs` shows it."""
    tags = {"tags.mlflow.runName": name, "tags.data": data, "tags.code": code, "start_time": started}
    values = {f"metrics.{key}": value for key, value in metrics.items()}
    return tags | values | {f"params.{key}": value for key, value in params.items()}


RUNS = [
    run("a", 1, {"cgan.recall": 0.2}, seed="0", lr="0.1"),
    run("b", 2, {"cgan.recall": 0.4}, seed="1", lr="0.1"),
    run("c", 3, {"cgan.recall": 0.9}, seed="0", lr="0.2"),
]


def group(*runs, metrics=("cgan.recall",)):
    return pooling.group(DataFrame(runs), metrics)


def test_seeds_are_pooled_and_settings_are_not():
    differing, rows = group(*RUNS)
    assert differing == ["lr"]
    assert [(row.settings, row.seeds) for row in rows] == [
        ({"lr": "0.1"}, ["0", "1"]),
        ({"lr": "0.2"}, ["0"]),
    ]
    assert rows[0].values["cgan.recall"] == (pytest.approx(0.3), pytest.approx(0.2 / 2**0.5))
    assert rows[1].values["cgan.recall"] == (0.9, None)


def test_of_runs_alike_to_the_seed_the_latest_counts_once():
    _, rows = group(*RUNS, run("again", 9, {"cgan.recall": 0.6}, seed="1", lr="0.1"))
    assert rows[0].seeds == ["0", "1"]
    assert rows[0].values["cgan.recall"][0] == pytest.approx(0.4)


def test_other_data_and_other_code_are_never_pooled():
    small = run("small", 4, {"cgan.recall": 0.1}, seed="2", lr="0.1", data="bundled")
    patched = run("patched", 5, {"cgan.recall": 0.1}, seed="3", lr="0.1", code="abc changed")
    differing, rows = group(*RUNS, small, patched)
    assert differing == ["code", "data", "lr"]
    assert len(rows) == 4


def test_other_pictures_of_the_same_name_and_number_are_not_pooled():
    own = [
        run(f"own {i}", i, {"cgan.recall": 0.1}, seed=str(i), data="own, 90 images") | {"tags.data.md5": md5}
        for i, md5 in enumerate(("aaaa", "bbbb", "bbbb"))
    ]
    differing, rows = group(*own)
    assert differing == ["data.md5"]
    assert [row.seeds for row in rows] == [["0"], ["1", "2"]]


def test_numbers_that_are_equal_are_one_setting():
    _, rows = group(*(run(text, 1, {"cgan.recall": 0.1}, seed=text, r1=text) for text in ("0", "0.0", "0e0")))
    assert [row.settings for row in rows] == [{}]


def test_runs_of_which_the_data_set_or_a_parameter_is_not_known_are_not_pooled_with_others():
    old = run("old", 4, {"cgan.recall": 0.1}, data=None, seed="2", lr="0.1")
    differing, rows = group(*RUNS, old, run("older", 0, {"cgan.recall": 0.3}, seed="3"))
    assert differing == ["data", "lr"]
    assert [row.seeds for row in rows] == [["3"], ["0", "1"], ["0"], ["2"]]


def test_runs_without_the_metric_are_left_out_with_a_line_and_none_at_all_is_an_error():
    runs = DataFrame([*RUNS, run("short", 9, {"cvae.recall": 1.0}, seed="5", lr="0.1")])
    assert [row.seeds for row in pooling.group(runs, ["cgan.recall"])[1]] == [["0", "1"], ["0"]]
    assert pooling.left_out(runs, ["cgan.recall"]) == "left out, because they lack cgan.recall: short"
    assert pooling.left_out(DataFrame(RUNS), ["cgan.recall"]) == ""
    with pytest.raises(UserError, match=r"no finished run has all of cgan\.nothing"):
        pooling.group(runs, ["cgan.nothing"])


def test_runs_of_several_processors_are_pooled_and_a_line_says_so():
    def on(processor, name, seed, lr="0.1"):
        return run(name, 1, {"cgan.recall": 0.1}, seed=seed, lr=lr) | {"tags.processor": processor}

    old = run("old", 1, {"cgan.recall": 0.1}, seed="9", lr="0.1")  # it is not known where it ran
    _, rows = group(on("EPYC", "a", "0"), on("EPYC", "b", "0", "0.2"), old)
    assert [row.processors for row in rows] == [["EPYC"], ["EPYC"]]
    assert pooling.mixed(rows) == ""
    _, rows = group(on("EPYC", "a", "0"), on("Xeon", "b", "1"), on("EPYC", "c", "0", "0.2"))
    assert [row.seeds for row in rows] == [["0", "1"], ["0"]]
    assert "2 processors made these runs (EPYC, Xeon; in 1 of 2 rows more than one)" in pooling.mixed(rows)
    assert next(csv.DictReader(io.StringIO(pooling.as_csv(rows))))["processors"] == "EPYC, Xeon"


def test_many_runs_are_named_as_far_as_a_row_has_room():
    several = [run("main@1234567", 10 + i, {"cgan.recall": 0.1}, seed=str(i), lr="1") for i in range(3)]
    others = [run(f"experiment-{i}", 20 + i, {"cgan.recall": 0.1}, seed=str(i), lr="1") for i in range(3, 9)]
    _, (row,) = group(*several, *others)
    assert row.runs == ["main@1234567"] * 3 + [f"experiment-{i}" for i in range(3, 9)]
    line = pooling.text([], [row]).splitlines()[1]
    assert line.endswith("  main@1234567 (x3), experiment-3 and 5 more")
    unnamed = DataFrame([run("x", 1, {"cgan.recall": 0.1}, seed="0")]).drop(columns="tags.mlflow.runName")
    assert pooling.group(unnamed, ["cgan.recall"])[1][0].runs == ["–"]


def test_a_name_stands_for_both_models_as_far_as_they_have_it():
    runs = DataFrame(
        [run("a", 1, {"cvae.recall": 1, "cgan.recall": 1, "cvae.test_elbo": 1, "real.recall": 1})]
    )
    chosen = pooling.choose(["recall", "test_elbo", "real.recall"], runs)
    assert chosen == ["cvae.recall", "cgan.recall", "cvae.test_elbo", "real.recall"]
    with pytest.raises(UserError, match=r"no finished run has the metric beauty: there are cgan\.recall"):
        pooling.choose(["beauty"], runs)
    with pytest.raises(UserError, match=r"no finished run has the metric recall: there are none"):
        pooling.choose(["recall"], DataFrame())


def test_the_table_the_csv_and_the_picture_say_the_same(tmp_path):
    differing, rows = group(*RUNS)
    text = pooling.text(differing, rows)
    assert text.splitlines()[0].split() == ["lr", "seeds", "cgan.recall", "runs"]
    assert "0.3 ± 0.14" in text
    table = list(csv.DictReader(io.StringIO(pooling.as_csv(rows))))
    assert float(table[0]["cgan.recall_mean"]) == pytest.approx(0.3)
    assert table[1]["cgan.recall_sd"] == ""
    assert text.splitlines()[1].endswith("  a, b")
    assert [row["runs"] for row in table] == ["a b", "c"]
    figures.comparison(tmp_path / "c.png", rows)
    assert (tmp_path / "c.png").stat().st_size > 1000
