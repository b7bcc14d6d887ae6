"""Checks what `dvc repro` left in this checkout: files under data/ and runs in mlflow.db. For .ci/run."""

import json
from pathlib import Path

import mlflow

STAGES = {"download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"}


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    results = json.loads((root / "data/metrics/evaluate.json").read_text())
    print(json.dumps(results, indent=1))
    assert (root / "data/report.html").stat().st_size > 100_000
    assert results["data"] == "MNIST, all 70,000 images"
    assert results["cvae"]["class_accuracy"] > 0.9, "two epochs are enough for a CVAE to obey the label"
    assert results["real"]["frechet_distance"] < results["cvae"]["frechet_distance"]

    client = mlflow.MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("condgen")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1, f"one pipeline execution is one parent, found {len(parents)}"
    children = {run.data.tags["stage"] for run in runs if run is not parents[0]}
    assert children == STAGES, children
    assert {run.info.status for run in runs} == {"FINISHED"}
    print(f"ok: 1 parent and {len(children)} children, all FINISHED, in mlflow.db")


if __name__ == "__main__":
    main()
