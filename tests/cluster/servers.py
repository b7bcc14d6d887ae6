"""The servers of deploy/, hosts that use them, and a repository that was run once and pushed."""

import os
import re
import secrets
import signal
import socket
from pathlib import Path

import mlflow
import yaml
from hosts import Network, until

from clone import Clone

POSTGRES = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
# Drawn here, because the repository that is looked through has this file, too.
SECRETS = {
    name: secrets.token_hex(16)
    for name in (
        "MLFLOW_TRACKING_PASSWORD",
        "PGPASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    )
}
QUICK = {"classifier.epochs": 1, "cvae.epochs": 1, "cgan.epochs": 6, "per_class": 10, "threads": 1}
# The first two are not that of params.yaml, which was run and pushed before, so that both train.
RATES = [0.0005, 0.0015, 0.001, 0.002, 0.0025, 0.003]
SWEEP = """
vary:
  cgan.lr: {values}
metric: cgan.frechet_distance
direction: min
at_once: 2
cpus: 1
"""


class Team:
    """All of it. folder: where the user postgres can come, so not pytest's. trials: of a sweep, 2 to 6."""

    def __init__(self, root, folder, trials=6):
        self.root, self.folder = root, folder
        self.clone = Clone(root, folder / "driver", **{key.replace(".", "__"): v for key, v in QUICK.items()})
        for name, count in {"calm": trials, "storm": trials, "outage": 2, "again": 2}.items():
            (self.clone.path / f"sweeps/{name}.yaml").write_text(SWEEP.format(values=RATES[:count]))
        env = {k: v for k, v in self.clone.env.items() if not k.startswith("GIT_")}
        env |= {"PYTHONPATH": str(self.clone.path / "src"), "OMP_NUM_THREADS": "1", **SECRETS}
        env |= {
            "MLFLOW_TRACKING_USERNAME": "admin",
            "AWS_ACCESS_KEY_ID": "condgen",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
        env |= {"CONDGEN_STATES": str(folder / "states")}  # all hosts see the same files
        # A host that is gone is noticed after seconds, not a minute.
        env |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "5"}
        env |= {"RAY_health_check_timeout_ms": "2000", "RAY_health_check_initial_delay_ms": "1000"}
        self.network = Network(folder, env)
        self.servers = {}
        self.store = self.network.host("store", 2)
        self.head = self.network.host("head", 1)
        self.address = f"{self.head.address}:6379"

    def serve(self, name):
        """Starts one of deploy/ on the store's host."""
        extra = {"STATE": str(self.folder / "state"), "LISTEN": self.store.address}
        extra |= {"NETWORK": f"{self.network.prefix}.0/24", "DATABASE": f"{self.store.address}:5432"}
        extra |= {"MLFLOW_AUTH_ADMIN_PASSWORD": SECRETS["MLFLOW_TRACKING_PASSWORD"], "WORKERS": "1"}
        script = self.root / f"deploy/{name}.sh"
        self.servers[name] = self.store.start(name, "bash", script, **extra)

    def stop(self, name):
        """Kills a server with all its processes."""
        port = {"postgres": 5432, "mlflow": 5000, "git": 9418, "s3": 8333}[name]
        os.killpg(self.servers[name].pid, signal.SIGKILL)
        listening = self.store.run("ss", "-Htlnp", f"sport = :{port}", check=False)
        for pid in set(re.findall(r"pid=(\d+)", listening)):
            self.store.run("kill", "-9", pid, check=False)

    def answers(self, port, host=None):
        socket.create_connection(((host or self.store).address, port), timeout=2).close()
        return True

    def node(self, host, kind, cpus=1):
        extra = {"LISTEN": host.address, "HEAD": self.head.address, "RECONNECT": "15"}
        extra |= {"CPUS": str(cpus)} if kind == "worker" else {}
        words = ["bash", self.root / "deploy/ray.sh", kind, "--object-store-memory=200000000"]
        return host.start("ray", *words, **extra)

    def worker(self, name, number, cpus=1):
        # What Ray keeps of a sweep on the head: a machine of its own would not see it.
        host = self.network.host(name, number, hidden=[self.clone.path / ".dvc/tmp"])
        self.node(host, "worker", cpus)
        return host

    def bucket(self):
        """Whether the store has the bucket of deploy/s3.sh."""
        shell = f"echo s3.bucket.list | weed shell -master={self.store.address}:9333"
        return re.search(r"^ *dvc\b", self.store.run("bash", "-c", shell, check=False), re.M)

    def begin(self):
        """Starts the servers and the head, runs the pipeline, and pushes."""
        for name in ("postgres", "git", "s3"):
            self.serve(name)
        until(lambda: self.answers(5432), 60)
        self.serve("mlflow")
        self.node(self.head, "head")
        git, run = f"git://{self.store.address}/condgen.git", self.clone.run
        run("git", "remote", "add", "origin", git)
        run("dvc", "remote", "add", "-d", "store", "s3://dvc/condgen")
        run("dvc", "remote", "modify", "store", "endpointurl", f"http://{self.store.address}:8333")
        run("dvc", "repro", "--quiet")
        self.clone.commit("results")
        self.clone.env |= self.network.env
        run("git", "push", "-q", "origin", "HEAD:trunk")
        run("git", "fetch", "-q", "origin")
        until(self.bucket, 90)
        run("dvc", "push", "--quiet")
        self.network.env["MLFLOW_TRACKING_URI"] = f"http://{self.store.address}:5000"
        until(lambda: self.answers(5000) and self.answers(6379, self.head), 120)

    def condgen(self, *words, check=True):
        return self.head.run("condgen", *words, cwd=self.clone.path, check=check)

    def sweep(self, name, *more):
        """A sweep, started in the background on the head."""
        words = ["condgen", "sweep", f"sweeps/{name}.yaml", "--address", self.address, *more]
        return self.head.start(f"sweep-{name}", *words, cwd=self.clone.path)

    def said(self, name):
        return (self.folder / f"head-sweep-{name}.log").read_text()

    def ended(self, name, process, seconds=600):
        """Waits for a sweep; returns its experiments: trial -> the hashes of its results."""
        code = process.wait(seconds)
        assert code == 0, self.said(name)
        return self.results(name)

    def results(self, name):
        run = self.clone.run
        run("git", "fetch", "-q", "origin", "+refs/exps/*:refs/fetched/*")
        refs = run("git", "for-each-ref", "--format=%(refname)", "refs/fetched").split()
        found = {}
        for ref in refs:
            if (trial := ref.rpartition("/")[2]).startswith(f"{name}-"):
                lock = yaml.safe_load(run("git", "show", f"{ref}:dvc.lock"))
                hashes = {o["path"]: o["md5"] for s in lock["stages"].values() for o in s["outs"]}
                metrics = run("git", "show", f"{ref}:data/metrics/evaluate.json")
                found[trial.removeprefix(f"{name}-")] = (hashes, metrics)
        return found

    def runs(self, name):
        """The runs of a sweep in MLflow, and of its stages."""
        os.environ |= {k: v for k, v in self.network.env.items() if k.startswith("MLFLOW_TRACKING")}
        client = mlflow.MlflowClient(self.network.env["MLFLOW_TRACKING_URI"])
        experiment = client.get_experiment_by_name("condgen").experiment_id
        every = client.search_runs([experiment], max_results=5000)
        parents = {run.info.run_id for run in every if run.data.tags.get("sweep") == name}
        above = "mlflow.parentRunId"
        return [r for r in every if r.info.run_id in parents or r.data.tags.get(above) in parents]
