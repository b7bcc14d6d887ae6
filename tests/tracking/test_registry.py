"""Which model is the champion, and what the runs page shows."""

import json
from types import SimpleNamespace

import pytest

from condgen.base import params
from condgen.base.errors import UserError
from condgen.evaluation import catalog
from condgen.evaluation.params import RegistryParams
from condgen.tracking import registry, views

RANKED = {metric.key: metric for metric in catalog.METRICS if metric.better != "none"}

FOUND = {"value": 80.0, "images": 10_000, "reference_images": 10_000, "judged_by": "a+b", "classes": "0, 1"}


def version(number, value=None, **changed):
    tags = {k: str(v) for k, v in FOUND.items() if k != "value"} | {k: str(v) for k, v in changed.items()}
    return SimpleNamespace(version=number, tags=tags if value is None else tags | {"fid": str(value)})


@pytest.mark.parametrize(
    ("old", "becomes"),
    [
        (None, True),
        (version(1, 90.0), True),
        (version(1, 80.0), False),  # as good is not better
        (version(1, 70.0), False),
        (version(1), False),
        (version(1, 90.0, judged_by="a+c"), False),  # another classifier
        (version(1, 90.0, images=500), False),
        (version(1, 1.0, judged_by="c+b", reference_images=1000), True),  # the bundled digits
        (version(1, 99.0, judged_by="c+b", reference_images=60_000), False),
        (version(1, 1.0, judged_by="c+b", reference_images=1000, classes="bag, coat"), False),
        (version(1, 90.0, classes="bag, coat"), False),
    ],
)
def test_only_a_better_result_of_the_same_judge_or_one_of_more_real_images_makes_a_champion(old, becomes):
    verdict = registry._verdict(old, version(2), "fid", "lower", FOUND)
    assert verdict.startswith("champion") == becomes, verdict


@pytest.mark.parametrize(
    ("better", "new", "old", "wins"),
    [
        ("lower", 1, 2, True),
        ("lower", 2, 1, False),
        ("lower", 1, 1, False),
        ("higher", 2, 1, True),
        ("higher", 1, 2, False),
        ("near 1", 1.1, 0.5, True),
        ("near 1", 1.9, 0.5, False),
    ],
)
def test_better_is_what_the_metric_says(better, new, old, wins):
    assert registry.beats(better, new, old) == wins


def test_the_champions_metric_is_one_that_has_a_better_end(root, tmp_path):
    assert params.read(RegistryParams, root / "params.yaml").metric.key in RANKED
    assert {m.better for m in RANKED.values()} <= {"lower", "higher", "near 1"}
    wrong = tmp_path / "params.yaml"
    wrong.write_text("registry:\n  champion: beauty\n")
    with pytest.raises(UserError, match=r"registry.champion is 'beauty', but must be one of class_accuracy"):
        params.read(RegistryParams, wrong)


def test_views_show_numbers_that_there_are():
    known = {metric.key for metric in catalog.METRICS}
    assert {name.split(".")[1] for name in views.METRICS} <= known
    tags = views.tags("7", now=1)
    for key in ("results", "cvae", "cgan"):
        assert f"experiments/7/runs?viewStateShareKey={key}&" in tags["mlflow.note.content"]
        view = json.loads(tags[views.TAG + key])
        state = json.loads(view["state"])
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections
        assert len(tags[views.TAG + key]) < 20_000, "MLflow refuses more"


def test_the_view_of_a_sweep_shows_its_runs_alone_with_the_columns_of_the_results():
    key, tag = views.of_sweep("lr", now=1)
    view, results = json.loads(tag), json.loads(views.tags("7", now=1)[views.RESULTS])
    assert (key, view["name"]) == ("sweep-lr", "Sweep lr")
    assert json.loads(view["state"]) == json.loads(results["state"]) | {"searchFilter": "tags.sweep = 'lr'"}
