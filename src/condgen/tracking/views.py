"""Saved views of the runs page: which columns, curves and pictures are worth a look.

MLflow's UI keeps a view as a tag of the experiment. It shows no metric and no parameter by itself.
"""

import json
from typing import Any

METRICS = [
    f"{model}.{metric}"
    for metric in ("frechet_distance", "class_accuracy", "recall", "coverage")
    for model in ("cvae", "cgan")
]
CURVES = {
    "cvae": ["train_loss", "val_loss", "train_reconstruction", "train_kl"],
    "cgan": ["d_loss", "g_loss", "d_real", "d_fake"],
}
TAG = "mlflow.sharedViewState."
RESULTS = TAG + "results"
WIDTH = 150  # pixels of a column
STEP = 25  # the epoch whose pictures are shown first: the last one of the article's table
NOTE = (
    "One parent run for each execution of the pipeline, a child run for each stage of it. "
    "Views, also in the menu of views: [results]({results}) · [pictures and curves of the CVAE]({cvae}) · "
    "[of the CGAN]({cgan})"
)


def tags(experiment: str, now: int) -> dict[str, str]:
    """Tags that give an experiment its views, and a description that links to them. now: milliseconds."""
    views = {
        "results": ("Results", _results()),
        "cvae": ("CVAE training", _training("cvae")),
        "cgan": ("CGAN training", _training("cgan")),
    }
    found = {"mlflow.note.content": NOTE.format(**{key: _link(experiment, key) for key in views})}
    for key, (name, state) in views.items():
        view = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
        found[TAG + key] = json.dumps(view)
    return found


def _link(experiment: str, key: str) -> str:
    """A view's page, after the UI's address."""
    page = f"#/experiments/{experiment}/runs?viewStateShareKey={key}&workflowType=machine_learning"
    return page if key == "results" else page + "&compareRunsMode=CHART"


def _results() -> dict[str, Any]:
    """A line for each pipeline run: what was changed, and what came of it."""
    columns = ["tags.`changed`", *(f"metrics.`{name}`" for name in METRICS), "params.`seed`"]
    charts = [_chart("BAR", "Results", metricKey=name) for name in METRICS]
    return _state(columns, charts, [_section("Results", 2, 360)]) | {
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH) | {columns[0]: 2 * WIDTH},
    }


def _training(model: str) -> dict[str, Any]:
    """The training runs of one model side by side: pictures by epoch, and curves."""
    curves = CURVES[model]
    columns = [*(f"metrics.`{name}`" for name in curves), f"params.`{model}.lr`", "params.`seed`"]
    lines = {
        "metricKey": curves[0], "selectedMetricKeys": curves, "xAxisKey": "step", "xAxisScaleType": "linear",
        "scaleType": "linear", "lineSmoothness": 0, "range": {}, "yAxisKey": "metric", "yAxisExpressions": [],
        "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
    }  # fmt: skip
    charts = [
        _chart("IMAGE", "Pictures", imageKeys=["samples"], step=STEP, showRunParams=False),
        _chart("LINE", "Curves", **lines),
    ]
    return _state(columns, charts, [_section("Pictures", 1, 420), _section("Curves", 1, 360)]) | {
        "searchFilter": f"tags.stage = 'train_{model}'",
        # By any other key the runs hide below their parents, and their charts with them.
        "orderByKey": f"params.`{model}.lr`",
        "orderByAsc": True,
    }


def _state(columns: list[str], charts: list[dict], sections: list[dict]) -> dict[str, Any]:
    return {
        "selectedColumns": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH),
        "compareRunCharts": charts,
        "compareRunSections": [*sections, _section("Model metrics", 2, 360) | {"display": False}],
        "isAccordionReordered": True,
    }


def _chart(kind: str, section: str, **more: Any) -> dict[str, Any]:
    name = f"condgen-{section}-{more.get('metricKey', kind)}"
    fixed = {"runsCountToCompare": 10, "deleted": False, "isGenerated": False}
    return {"uuid": name, "type": kind, "metricSectionId": section} | fixed | more


def _section(name: str, columns: int, height: int) -> dict[str, Any]:
    fixed = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": name, "columns": columns, "cardHeight": height} | fixed
