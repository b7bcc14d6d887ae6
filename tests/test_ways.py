"""Every way of running the pipeline gives the same picture in MLflow.

`dvc repro`, `dvc exp run --temp`, a stage by hand, and eight queued experiments of two workers. The plain
`dvc exp run` is in test_pipeline.py.
"""

import subprocess
import time

import mlflow
import pytest
from clone import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RATES = [0.0001 * n for n in range(1, 9)]


@pytest.fixture(scope="module")
def ways(root, tmp_path_factory):
    clone = Clone(root, tmp_path_factory.mktemp("ways") / "condgen")
    clone.run("dvc", "repro")
    clone.commit("results")
    return clone


def test_an_experiment_in_a_temporary_copy_gives_the_same_picture(ways):
    output = ways.run("dvc", "exp", "run", "--temp", "-n", "tidy-toad", "-S", "evaluate.gan_train_epochs=2")
    assert "Running stage 'evaluate'" in output
    parent, children = ways.runs()["tidy-toad"]
    assert list(children) == ["evaluate"]
    assert parent.data.tags["changed"] == "evaluate.gan_train_epochs=2"
    assert parent.data.metrics["cgan.frechet_distance"] > 0
    assert parent.data.tags["reused.sample"].startswith("sample · ")
    assert mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/report.html").startswith("<!doctype html>")


def test_a_stage_by_hand_is_a_pipeline_of_one(ways):
    before = set(ways.runs())
    ways.run("git", "checkout", "-q", "-b", "by-hand")
    ways.run("python", "stages/sample.py")
    ways.run("git", "checkout", "-q", "trunk")
    (name,) = set(ways.runs()) - before
    assert name.startswith("by-hand@")
    parent, children = ways.runs()[name]
    assert list(children) == ["sample"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["reused.train_cvae"].startswith("train_cvae · ")


@pytest.fixture(scope="module")
def queued(ways):
    clone = ways
    rates = ",".join(f"{rate:.4f}" for rate in RATES)
    clone.run("dvc", "exp", "run", "--queue", "-S", f"cgan.lr={rates}")
    clone.env["OMP_NUM_THREADS"] = "1"  # as the README says
    clone.run("dvc", "queue", "start", "-j", "2")
    end = time.monotonic() + 1500
    while "Running" in (status := clone.run("dvc", "queue", "status")) or "Queued" in status:
        assert time.monotonic() < end, status
        time.sleep(3)
    clone.run("dvc", "queue", "stop", "--kill", check=False)
    assert status.count("Success") == len(RATES), status
    return clone


def test_eight_experiments_of_two_workers_are_eight_complete_runs(queued):
    names = queued.run("dvc", "exp", "list", "--name-only").split()
    runs = {name: found for name, found in queued.runs().items() if name in names and name != "tidy-toad"}
    mlflow.set_tracking_uri(f"sqlite:///{queued.path}/mlflow.db")
    assert len(runs) == len(RATES)
    assert sorted(float(parent.data.params["cgan.lr"]) for parent, _ in runs.values()) == pytest.approx(RATES)
    for name, (parent, children) in runs.items():
        assert sorted(children) == ["evaluate", "sample", "train_cgan"], name
        assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}, name
        assert parent.data.metrics["cgan.frechet_distance"] > 0
        assert parent.data.tags["dvc.experiment"] == name
        assert parent.data.tags["reused.train_cvae"].startswith("train_cvae · trunk@")
        training = children["train_cgan"]
        history = queued.client.get_metric_history(training.info.run_id, "d_loss")
        assert [m.step for m in history] == [1, 2, 3, 4]
        pictures = queued.client.list_artifacts(training.info.run_id, "images")
        assert sum(a.path.endswith(".png") for a in pictures) == 5
        page = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/report.html")
        assert page.startswith("<!doctype html>")
        (model,) = training.outputs.model_outputs
        folder = mlflow.artifacts.list_artifacts(f"models:/{model.model_id}")
        assert "MLmodel" in {a.path for a in folder}
    assert not list((queued.path / "outbox").glob("2*"))


def test_versions_are_as_many_as_models_and_the_champion_is_the_best_of_them(queued):
    versions = queued.client.search_model_versions("name = 'condgen-cgan'")
    assert len(versions) == 1 + len(RATES)
    champion = queued.client.get_model_version_by_alias("condgen-cgan", "champion")
    best = min(versions, key=lambda version: float(version.tags["frechet_distance"]))
    assert float(champion.tags["frechet_distance"]) == float(best.tags["frechet_distance"])


def test_no_process_is_left(queued):
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert f"condgen.tracking {queued.path}" not in listed


def test_nothing_is_left_behind_and_every_artifact_can_still_be_had(queued, tmp_path):
    assert not list((queued.path / "outbox").glob("2*"))
    for name, (parent, children) in queued.runs().items():
        for run in [parent, *children.values()]:
            assert run.info.status == "FINISHED", (name, run.info.run_name)
            folder = tmp_path / run.info.run_id
            folder.mkdir()
            queued.client.download_artifacts(run.info.run_id, "", str(folder))
            if run is not parent:
                assert [p for p in folder.rglob("*") if p.is_file()], (name, run.info.run_name)
