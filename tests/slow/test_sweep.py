"""A sweep on this machine: every trial is a DVC experiment, run once, whole, and found again."""

import subprocess

import pytest

from clone import Clone
from condgen.tracking import views

pytest.importorskip("ray", reason="the extra sweep is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SWEEP = """
vary:
  cgan.lr: [0.001, 0.002]
metric: cgan.frechet_distance
direction: min
at_once: 2
cpus: 1
"""
STOPPED = """
vary:
  cvae.lr: [0.001, 0.0000001, 0.00000005]
fixed: {cvae.epochs: 8}
metric: cvae.frechet_distance
direction: min
stop: {number: train_cvae.val_loss, direction: min, grace: 2, factor: 2}
cpus: 1
"""


@pytest.fixture(scope="module")
def swept(root, tmp_path_factory):
    clone = Clone(root, tmp_path_factory.mktemp("sweep") / "condgen", threads=1)
    (clone.path / "sweeps/try.yaml").write_text(SWEEP)
    (clone.path / "sweeps/halt.yaml").write_text(STOPPED)
    clone.commit("sweeps")
    clone.said = clone.run("condgen", "sweep", "sweeps/try.yaml")
    return clone


def test_every_trial_is_an_experiment_whose_files_are_there(swept):
    names = set(swept.run("dvc", "exp", "list", "--name-only").split())
    lines = swept.said.splitlines()
    best = next(line for line in lines if line.startswith("best: ")).split()[1].rstrip(":")
    assert len(names) == 2
    assert best in names
    assert swept.run("git", "status", "--short") == "", "the workspace is as it was"
    swept.run("dvc", "exp", "apply", best)
    shown = [float(line.split()[-1]) for line in lines if "/2 try-" in line]
    results = swept.json("evaluate")
    assert results["reference"] == "validation"
    assert len(shown) == 2
    assert results["cgan"]["frechet_distance"] == pytest.approx(min(shown), rel=1e-3)
    assert (swept.path / "data/models/cgan/model.safetensors").exists()
    swept.run("git", "reset", "-q", "--hard")


def test_its_runs_say_which_sweep_they_are_of_and_share_stages(swept):
    runs = {name: run for name, run in swept.runs().items() if name.startswith("try-")}
    assert len(runs) == 2
    assert {parent.data.tags["sweep"] for parent, _ in runs.values()} == {"try"}
    assert {parent.info.status for parent, _ in runs.values()} == {"FINISHED"}
    assert "/runs?viewStateShareKey=sweep-try&" in swept.said.splitlines()[-1]
    assert views.TAG + "sweep-try" in swept.client.get_experiment_by_name("condgen").tags
    ran = [stage for _, children in runs.values() for stage in children]
    assert ran.count("train_cgan") == 2


def test_a_sweep_that_was_run_is_not_run_again_unasked(swept):
    before = swept.runs()
    assert "was begun: --resume goes on with it" in swept.run(
        "condgen", "sweep", "sweeps/try.yaml", check=False
    )
    again = swept.run("condgen", "sweep", "sweeps/try.yaml", "--resume")
    assert [line for line in again.splitlines() if line.startswith("best: ")] == [
        line for line in swept.said.splitlines() if line.startswith("best: ")
    ]
    assert set(swept.runs()) == set(before)


def test_uncommitted_changes_stop_it_before_any_work(swept):
    (swept.path / "README.md").write_text("changed")
    said = swept.run("condgen", "sweep", "sweeps/halt.yaml", check=False)
    swept.run("git", "checkout", "-q", "README.md")
    assert "commit them, trials run the commit" in said


def test_a_trial_that_is_worse_is_stopped_and_its_run_says_so(swept):
    said = swept.run("condgen", "sweep", "sweeps/halt.yaml")
    assert "stopped early" in said
    names = [n for n in swept.run("dvc", "exp", "list", "--name-only").split() if n.startswith("halt-")]
    stopped = [run for name, run in swept.runs().items() if name.startswith("halt-") and name not in names]
    assert stopped, "its experiment did not come home"
    _, children = stopped[0]
    assert children["train_cvae"].info.status == "KILLED"
    assert "stopped early by the sweep halt: train_cvae.val_loss" in children["train_cvae"].data.tags["error"]
    assert not list((swept.path / "outbox").glob("[!.]*"))
    assert subprocess.run(["pgrep", "-f", str(swept.path)], check=False).returncode == 1, "nothing runs on"
