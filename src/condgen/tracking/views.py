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
# Raised when views change: a store that has older ones gets them again. Views under other names stay.
VERSION, NEWEST = "condgen.views", "2"
WIDTH = 150  # pixels of a column
STEP = 1  # the epoch whose pictures are shown first by epoch: every training has it


DIFFERING = {"showDifferencesOnly": True, "showChangeFromBaseline": True, "baselineColumnUuid": ""}


def tags(experiment: str, now: int) -> dict[str, str]:
    """Tags that give an experiment its views, and a description that links to them. now: milliseconds."""
    views = {
        "results": ("Results", _results()),
        "cvae": ("CVAE training", _training("cvae")),
        "cgan": ("CGAN training", _training("cgan")),
    }
    page = f"#/experiments/{experiment}/runs?viewStateShareKey="  # after the UI's address
    end = "&workflowType=machine_learning"
    charts = f"{end}&compareRunsMode=CHART"
    note = (
        "One parent run for each execution of the pipeline, a child run for each stage of it. "
        f"Views, also in the menu of views: [results]({page}results{end}) · "
        f"[pictures and curves of the CVAE]({page}cvae{charts}) · [of the CGAN]({page}cgan{charts})"
    )
    found = {"mlflow.note.content": note, VERSION: NEWEST}
    for key, (name, state) in views.items():
        found[TAG + key] = _tag(name, state, now)
    return found


def of_sweep(sweep: str, now: int) -> tuple[str, str]:
    """The key and the tag of a view as "Results", of one sweep's runs. now: milliseconds."""
    state = _results() | {"searchFilter": f"tags.sweep = '{sweep}'"}
    return f"sweep-{sweep}", _tag(f"Sweep {sweep}", state, now)


def _tag(name: str, state: dict[str, Any], now: int) -> str:
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def _results() -> dict[str, Any]:
    """A line for each pipeline run: what was changed, and what came of it."""
    columns = ["tags.`changed`", *(f"metrics.`{name}`" for name in METRICS), "params.`seed`"]
    bars = [{"type": "BAR", "metricKey": name} for name in METRICS]
    # What differs between the runs, and nothing else.
    groups = ["Parameters", "Model metrics"]
    differences = [{"type": "DIFFERENCE", "chartName": "Differences", "compareGroups": groups, **DIFFERING}]
    return _state(columns, ("Differences", 1, 420, differences), ("Results", 2, 360, bars)) | {
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH) | {columns[0]: 2 * WIDTH},
    }


def _training(model: str) -> dict[str, Any]:
    """The training runs of one model side by side: pictures by epoch, and curves."""
    curves = CURVES[model]
    columns = [*(f"metrics.`{name}`" for name in curves), f"params.`{model}.lr`", "params.`seed`"]
    final, by_epoch = (
        {"type": "IMAGE", "imageKeys": [key], "step": step, "showRunParams": False}
        for key, step in (("final", 0), ("samples", STEP))
    )
    lines = {"type": "LINE", "metricKey": curves[0], "selectedMetricKeys": curves, "range": {}}
    whole = {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}  # the page's axis, and no smoothing
    sections = (
        ("Pictures after the last epoch", 1, 420, [final]),
        ("Curves", 1, 360, [lines | whole]),
        ("Pictures by epoch", 1, 420, [by_epoch]),
    )
    return _state(columns, *sections) | {
        "searchFilter": f"tags.stage = 'train_{model}'",
        # By any other key the runs hide below their parents, and their charts with them.
        "orderByKey": f"params.`{model}.lr`",
        "orderByAsc": True,
    }


def _state(columns: list[str], *sections: tuple[str, int, int, list[dict]]) -> dict[str, Any]:
    """sections: name, charts in a row, their height in pixels, and the charts."""
    return {
        "selectedColumns": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH),
        "compareRunCharts": [
            {"uuid": f"condgen-{name}-{i}", "metricSectionId": name, "runsCountToCompare": 10} | chart
            for name, _, _, charts in sections
            for i, chart in enumerate(charts)
        ],
        # The last one is MLflow's own: it has a chart of every metric, and is closed here.
        "compareRunSections": [
            {"uuid": name, "name": name, "columns": in_a_row, "cardHeight": height, "display": bool(charts)}
            for name, in_a_row, height, charts in (*sections, ("Model metrics", 2, 360, []))
        ],
        "isAccordionReordered": True,
    }
