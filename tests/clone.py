"""A clone of this working tree in which tests run the real pipeline with quick parameters."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np

QUICK = {
    "source": "bundled",
    "classifier.epochs": 2,
    "cvae.epochs": 3,
    "cgan.epochs": 4,
    "per_class": 20,
    "manifold_steps": 3,
    "gan_train_epochs": 1,
}


class Clone:
    """A copy of the working tree's files, committed or not, with quick parameters."""

    def __init__(self, root: Path, path: Path, **quick: object):
        self.path = path
        wanted = QUICK | {name.replace("__", "."): value for name, value in quick.items()}
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (root / name).exists():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, path / name)
        section = ""
        lines = (path / "params.yaml").read_text().splitlines()
        for i, line in enumerate(lines):
            section = line[:-1].split(":")[0] if line[:1].isalpha() else section
            key = line.strip().split(":")[0]
            value = wanted.get(key, wanted.get(f"{section}.{key}"))
            if value is not None:
                lines[i] = f"{line[: len(line) - len(line.lstrip())]}{key}: {value}"
        (path / "params.yaml").write_text("\n".join(lines) + "\n")
        drop = ("MNIST_MIRROR", "MLFLOW_", "DVC_", "GIT_", "PYTHONPATH")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(drop)} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CONDGEN_DEVICE": "cpu",
            **{
                f"GIT_{who}_{what}": "t@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.run("git", "init", "-q", "-b", "trunk")
        self.commit("start")

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            words, cwd=self.path, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def json(self, name: str) -> dict:
        return json.loads((self.path / f"data/metrics/{name}.json").read_text())

    def npz(self, name: str) -> dict:
        with np.load(self.path / f"data/{name}.npz", allow_pickle=False) as archive:
            return dict(archive)

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.path}/mlflow.db")

    def runs(self) -> dict:
        """Parent's name -> (parent, {stage: child})."""
        experiment = self.client.get_experiment_by_name("condgen")
        found = self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
        parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        names = [run.info.run_name for run in parents]
        assert len(set(names)) == len(names), names
        return {
            parent.info.run_name: (
                parent,
                {
                    run.data.tags["stage"]: run
                    for run in found
                    if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
                },
            )
            for parent in parents
        }
