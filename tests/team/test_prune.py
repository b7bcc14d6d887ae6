"""`condgen prune` removes what is old and spares what somebody may still want."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow.entities import ViewType

from condgen.base.errors import UserError
from condgen.team import prune
from condgen.tracking import cleaning, store

DAY = 86400
NOW = time.time()


class Runs:
    """A real store with pipeline runs of chosen ages."""

    def __init__(self, uri):
        self.store = store.connect(uri, "condgen")
        self.client = self.store.client

    def add(self, name, days, wrote="", model=None, status="FINISHED", **tags):
        at = int((NOW - days * DAY) * 1000)
        make = self.client.create_run
        parent = make(self.store.experiment, at, {"stage": "pipeline"} | tags, name).info.run_id
        of_stage = tags | {"stage": "train_cgan", "mlflow.parentRunId": parent}
        of_stage |= {"wrote/data/models/cgan/model.safetensors": wrote} if wrote else {}
        child = make(self.store.experiment, at, of_stage, f"train_cgan · {name}").info.run_id
        self.client.log_text(child, name, "note.txt")
        if model:
            made = self.client.create_logged_model(self.store.experiment, "cgan", child)
            self.client.log_model_artifacts(made.model_id, str(Path(__file__).parent))
            if not self.client.search_registered_models("name = 'condgen-cgan'"):
                self.client.create_registered_model("condgen-cgan")
            location = made.artifact_location
            version = self.client.create_model_version(
                "condgen-cgan", location, child, model_id=made.model_id
            )
            if model == "champion":
                self.client.set_registered_model_alias("condgen-cgan", "champion", version.version)
        if status == "FINISHED":
            for run in (child, parent):
                self.client.set_terminated(run, status, at)
        return child

    def names(self, view=ViewType.ACTIVE_ONLY):
        found = self.client.search_runs([self.store.experiment], "tags.stage = 'pipeline'", view)
        return {run.info.run_name for run in found}


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A git and DVC repository, `plain` and with `experiments`. Made once: a call of DVC takes a second."""
    folder = tmp_path_factory.mktemp("templates")
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder / "plain")
        run("git", "init", "-q", "-b", "trunk")
        run("dvc", "init", "-q")
        stage = {"cmd": "cp in.txt out.txt", "deps": ["in.txt"], "outs": ["out.txt"]}
        Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": stage}}))
        Path(".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n/out.txt\n")
        Path("in.txt").write_text("first")
        run("dvc", "repro", "-q")
        run("git", "add", ".")
        run("git", "commit", "-q", "-m", "start")
        shutil.copytree(folder / "plain", folder / "experiments", symlinks=True)
        settle(patch, folder / "experiments")
        experiment("old-exp", 50)
        experiment("young-exp", 2)
        experiment("dear-exp", 50)
    return folder


def settle(patch, folder):
    """Works in a folder, as somebody whom git knows and who has no MLflow server."""
    folder.mkdir(exist_ok=True)
    for what in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        patch.setenv(f"GIT_{what}", "t@example.org")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        patch.delenv(name, raising=False)
    patch.chdir(folder)


@pytest.fixture
def repository(templates, tmp_path, monkeypatch, request):
    """A repository with a file in DVC's cache that a commit names; for `full`, with experiments."""
    name = "experiments" if "full" in request.fixturenames else "plain"
    shutil.copytree(templates / name, tmp_path, symlinks=True, dirs_exist_ok=True)
    settle(monkeypatch, tmp_path)
    return tmp_path


def run(*words, **environment):
    words = [sys.executable, "-m", *words] if words[0] == "dvc" else words
    env = os.environ | environment
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def experiment(name, days):
    """A DVC experiment whose commit is so old, with a file of its own in the cache."""
    Path("in.txt").write_text(name)
    run("dvc", "repro", "-q")
    run("dvc", "exp", "save", "-q", "-n", name)
    # DVC takes the time of the clock, so the same commit is made once more.
    ref = run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").strip()
    at = f"{int(NOW - days * DAY)} +0000"
    words = ["git", "commit-tree", f"{ref}^{{tree}}", "-p", "HEAD", "-m", name]
    aged = run(*words, GIT_COMMITTER_DATE=at, GIT_AUTHOR_DATE=at).strip()
    run("git", "update-ref", ref, aged)
    run("git", "checkout", "-q", ".")
    run("dvc", "checkout", "-q")


def cached():
    """The texts in DVC's cache."""
    return {path.read_text() for path in Path(".dvc/cache/files/md5").rglob("*") if path.is_file()}


@pytest.fixture
def full(repository):
    """Runs of all kinds; of each experiment, old or young, a run."""
    md5 = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["copy"]["outs"][0]["md5"]
    runs = Runs(f"sqlite:///{repository}/mlflow.db")
    runs.add("old", 40, model="version")
    runs.add("old-exp", 50, **{"dvc.experiment": "old-exp"})
    runs.add("young", 3)
    runs.add("pinned", 60, pinned="", **{"dvc.experiment": "dear-exp"})
    runs.add("champion", 60, model="champion")
    runs.add("workspace", 60, wrote=md5)
    runs.add("going-on", 60, status="RUNNING")
    made = runs.add("source", 60)
    runs.add("reuser", 1, **{"reused.train_cvae": "source", "reused.train_cvae.run": made})
    return runs


KEPT = {"young", "pinned", "champion", "workspace", "going-on", "source", "reuser"}


def test_what_is_old_goes_and_what_is_dear_stays(full, repository):
    said = []
    assert cached() >= {"first", "old-exp", "young-exp", "dear-exp"}
    before = sum(path.is_file() for path in Path("mlartifacts").rglob("*"))
    prune.prune("30d", False, True, said.append, None)
    assert full.names() == KEPT
    assert full.names(ViewType.ALL) == KEPT, "not only marked as deleted"
    assert set(run("dvc", "exp", "list", "--name-only").split()) == {"young-exp", "dear-exp"}
    assert cached() == {"first", "young-exp", "dear-exp"}
    assert len(full.client.search_model_versions("name = 'condgen-cgan'")) == 1
    (model,) = full.client.search_logged_models([full.store.experiment])
    assert list(Path("mlartifacts").rglob(f"*{model.model_id}*"))
    texts = {path.read_text() for path in Path("mlartifacts").rglob("note.txt")}
    assert texts == KEPT
    assert sum(path.is_file() for path in Path("mlartifacts").rglob("*")) < before
    assert "removed: runs 4, experiments 1, and the files that only they had" in said
    assert "  kept, though as old: 1 (pinned)" in said
    run("dvc", "exp", "apply", "dear-exp")
    assert Path("out.txt").read_text() == "dear-exp"


def test_a_dry_run_and_an_answer_that_is_not_yes_change_nothing(full, repository):
    files = cached()
    said = []
    prune.prune("30d", True, False, said.append, None)
    assert "  pipeline runs in MLflow, with their stages, artifacts and models: 2" in said
    assert "  DVC experiments: 1" in said
    with pytest.raises(UserError, match="nothing was removed"):
        prune.prune("30d", False, False, said.append, lambda question: "n")
    with pytest.raises(UserError, match="nobody can be asked"):
        prune.prune("30d", False, False, said.append, None)
    assert len(full.names()) == 9
    assert cached() == files


@pytest.mark.slow
def test_a_removal_that_was_killed_is_completed_by_the_next(full, repository, monkeypatch):
    def die(*words, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cleaning.subprocess, "run", die)
        with pytest.raises(KeyboardInterrupt):
            cleaning.remove(full.store, cleaning.old(full.store, cleaning.executions(full.store), 2**60, []))
    assert full.names() <= KEPT
    assert full.names(ViewType.ALL) > full.names()
    prune.prune("30d", False, True, lambda line: None, None)
    old = full.names(ViewType.ALL) - full.names()
    assert old <= {"young", "reuser"}, "those are younger than 30 days"


def test_files_of_trials_that_run_are_not_collected(full, repository):
    (repository / ".dvc/tmp/sweeps/lr-trials/lr-1/clone").mkdir(parents=True)
    with pytest.raises(UserError, match="a sweep runs"):
        prune.prune("30d", False, True, lambda line: None, None)
    assert len(full.names()) == 9


@pytest.mark.parametrize("copy", ["exps/standalone/tmpabc", "exps/tmpabc"])
def test_files_of_experiments_that_run_are_not_collected_nor_those_begun_before_the_answer(
    full, repository, copy
):
    def begin(question):
        (repository / ".dvc/tmp" / copy).mkdir(parents=True)
        return "y"

    for ask, yes in ((begin, False), (None, True)):
        with pytest.raises(UserError, match=f"an experiment runs in .*{copy}"):
            prune.prune("30d", False, yes, lambda line: None, ask)
    assert len(full.names()) == 9


@pytest.mark.parametrize("age", ["30", "d", "-1d", "30 days", ""])
def test_an_age_must_have_a_unit(age):
    with pytest.raises(UserError, match="must be as 30d, 12h or 4w"):
        prune.seconds(age)


def test_ages():
    assert prune.seconds("30d") == 2 * prune.seconds("15d") == 30 * 24 * prune.seconds("1h")
    assert prune.seconds("1w") == prune.seconds("7d")


def test_nothing_to_remove_is_no_error(repository):
    Runs(f"sqlite:///{repository}/mlflow.db").add("young", 1)
    said = []
    prune.prune("30d", False, True, said.append, None)
    assert "removed: runs 0, experiments 0, and the files that only they had" in said


def test_runs_of_attempts_that_died_are_closed_and_those_of_others_are_not(repository):
    runs = Runs(f"sqlite:///{repository}/mlflow.db")
    mine = {"sweep": "lr", "git.commit": "a1"}
    runs.add("lr-1", 1, status="RUNNING", **mine)
    runs.add("lr-1", 1, **mine)
    runs.add("lr-2", 1, status="RUNNING", **mine | {"git.commit": "b2"})
    runs.add("other-1", 1, status="RUNNING", **mine | {"sweep": "other"})
    assert cleaning.close(runs.store, "lr", "a1", host="another") == 0
    assert cleaning.close(runs.store, "lr", "a1") == 2, "the pipeline run and its stage"
    assert cleaning.close(runs.store, "lr", "a1") == 0
    states = sorted(
        (run.data.tags["sweep"], run.info.status)
        for run in runs.client.search_runs([runs.store.experiment], "tags.stage = 'pipeline'")
    )
    assert states == [("lr", "FINISHED"), ("lr", "KILLED"), ("lr", "RUNNING"), ("other", "RUNNING")]
