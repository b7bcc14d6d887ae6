"""A sweep over hosts: a head and two workers in network namespaces, with the servers of deploy/.

Whatever dies in the middle, every trial ends once, whole, with the results of an undisturbed one.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import mlflow
import pytest
import yaml
from hosts import Network, until, why_not

from clone import Clone

pytest.importorskip("ray", reason="the extra sweep is not installed")
pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
pytest.importorskip("psycopg2", reason="the extra server is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
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
QUICK = {"classifier.epochs": 1, "cvae.epochs": 1, "cgan.epochs": 2, "per_class": 10, "threads": 1}
SWEEP = """
vary:
  cgan.lr: {values}
metric: cgan.frechet_distance
direction: min
at_once: 2
cpus: 1
"""


class Team:
    """The servers, the hosts, and a repository that was run once and pushed."""

    def __init__(self, root, folder):
        self.root, self.folder = root, folder
        self.clone = Clone(root, folder / "driver", **{key.replace(".", "__"): v for key, v in QUICK.items()})
        for name, values in {
            "calm": [0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003],
            "storm": [0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003],
            "outage": [0.0005, 0.001],
            "again": [0.0005, 0.001],
        }.items():
            (self.clone.path / f"sweeps/{name}.yaml").write_text(SWEEP.format(values=values))
        env = {k: v for k, v in self.clone.env.items() if not k.startswith("GIT_")}
        env |= {"PYTHONPATH": str(self.clone.path / "src"), "OMP_NUM_THREADS": "1", **SECRETS}
        env |= {
            "MLFLOW_TRACKING_USERNAME": "admin",
            "AWS_ACCESS_KEY_ID": "condgen",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
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

    def node(self, host, kind):
        extra = {"LISTEN": host.address, "HEAD": self.head.address, "RECONNECT": "15"}
        extra |= {"CPUS": "1"} if kind == "worker" else {}
        words = ["bash", self.root / "deploy/ray.sh", kind, "--object-store-memory=200000000"]
        return host.start("ray", *words, **extra)

    def worker(self, name, number):
        host = self.network.host(name, number)
        self.node(host, "worker")
        return host

    def bucket(self):
        """Whether the store has the bucket of deploy/s3.sh."""
        shell = f"echo s3.bucket.list | weed shell -master={self.store.address}:9333"
        return re.search(r"^ *dvc\b", self.store.run("bash", "-c", shell, check=False), re.M)

    def begin(self):
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
        self.w1, self.w2 = self.worker("w1", 11), self.worker("w2", 12)

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


@pytest.fixture(scope="module")
def team(root, request):
    if reason := why_not():
        pytest.skip(reason)
    if not POSTGRES:
        pytest.skip("there is no PostgreSQL: apt install postgresql")
    # Not in pytest's folder, to which the user postgres cannot come.
    folder = Path(tempfile.mkdtemp(prefix="condgen-cluster-"))
    folder.chmod(0o755)
    team = Team(root, folder)
    before = dict(os.environ)

    def interrupt(*_):
        raise KeyboardInterrupt

    ended = signal.signal(signal.SIGTERM, interrupt)  # the hosts must go, whoever ends this
    failed = True
    try:
        team.begin()
        yield team
        failed = request.session.testsfailed
    finally:
        signal.signal(signal.SIGTERM, ended)
        team.network.close()
        os.environ.clear()
        os.environ.update(before)
        if failed:
            print(f"logs are in {folder}")
        else:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def calm(team):
    """The results of a sweep that nothing disturbs."""
    start = time.monotonic()
    found = team.ended("calm", team.sweep("calm"))
    print(f"six trials, undisturbed: {time.monotonic() - start:.0f} s")
    return found


def running_trials(host):
    """Clones of trials on a host whose stages are running."""
    return list(host.folder.rglob("clone/dvc.yaml"))


def test_the_doctor_finds_everything(team):
    until(lambda: "3 nodes" in team.condgen("doctor", "--address", team.address, check=False), 90)
    said = team.condgen("doctor", "--address", team.address).splitlines()
    assert [line.split()[0] for line in said] == ["ok"] * 7, said
    assert "artifacts can be written" in "\n".join(said)
    kept = team.folder / "state/mlflow/artifacts"
    assert not [path for path in kept.rglob("*") if path.is_file()], "what it wrote is removed"


def test_each_of_six_trials_is_an_experiment_on_the_remote(team, calm):
    assert len(calm) == 6
    assert len({metrics for _, metrics in calm.values()}) == 6
    runs = team.runs("calm")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len([run for run in runs if run.data.tags["stage"] == "pipeline"]) == 6
    stages = [run.data.tags["stage"] for run in runs]
    assert "train_cvae" not in stages, "its result came from the remote"
    best = next(line for line in team.said("calm").splitlines() if line.startswith("best: "))
    command = best.split(": ", 2)[2]
    other = team.folder / "other"
    team.head.run(
        "git",
        "clone",
        "-q",
        "-b",
        "trunk",
        team.clone.run("git", "remote", "get-url", "origin").strip(),
        other,
    )
    team.head.run("bash", "-ec", command, cwd=other)
    assert (other / "data/models/cgan/model.safetensors").is_file()


def test_a_worker_host_that_dies_changes_nothing(team, calm):
    process = team.sweep("storm")
    until(lambda: running_trials(team.w1), 240)
    time.sleep(3)  # in the middle of a stage
    team.w1.down()
    try:
        found = team.ended("storm", process)
    finally:
        team.w1.up()
        team.node(team.w1, "worker")
    assert {trial: found[trial] for trial in sorted(found)} == {t: calm[t] for t in sorted(calm)}
    runs = team.runs("storm")
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    whole = {
        run.info.run_name
        for run in runs
        if run.data.tags["stage"] == "pipeline"
        and run.info.status == "FINISHED"
        and any(key.startswith("cgan.frechet") for key in run.data.metrics)
    }
    assert len(whole) == 6


def test_servers_that_are_down_for_a_while_and_a_killed_trial_change_nothing(team, calm):
    process = team.sweep("outage")
    until(lambda: running_trials(team.w1) or running_trials(team.w2), 240)
    for name in ("mlflow", "git"):
        team.stop(name)
    busy = team.w1 if running_trials(team.w1) else team.w2
    assert "killed" in busy.run("bash", "-c", "pkill -9 -f '[r]ay::Actor' && echo killed", check=False)
    time.sleep(30)
    for name in ("git", "mlflow"):
        team.serve(name)
    found = team.ended("outage", process)
    assert found == {trial: calm[trial] for trial in found}
    assert len(found) == 2
    assert {run.info.status for run in team.runs("outage")} <= {"FINISHED", "KILLED"}


def test_a_head_that_restarts_is_resumed(team, calm):
    process = team.sweep("again")
    until(lambda: running_trials(team.w1) or running_trials(team.w2), 240)
    for host in (team.head, team.w1, team.w2):
        host.down()
    process.wait(60)
    for host, kind in ((team.head, "head"), (team.w1, "worker"), (team.w2, "worker")):
        host.up()
        team.node(host, kind)
    until(lambda: "3 nodes" in team.condgen("doctor", "--address", team.address, check=False), 120)
    found = team.ended("again", team.sweep("again", "--resume"))
    assert found == {trial: calm[trial] for trial in found}
    assert len(found) == 2
    assert {run.info.status for run in team.runs("again")} <= {"FINISHED", "KILLED"}


def test_no_secret_is_in_a_journal_log_run_or_commit(team, calm):
    hidden = "\\|".join(SECRETS.values())
    everywhere = [
        "grep",
        "-rl",
        "--devices=skip",
        hidden,
        str(team.folder),
        "--exclude=logins.json",
        "--exclude-dir=refs",
    ]
    found = subprocess.run(everywhere, capture_output=True, text=True, check=False).stdout.split()
    assert not found
    refs = team.clone.run("git", "for-each-ref", "--format=%(objectname)").split()
    held = team.clone.run("git", "grep", "-l", hidden, *refs, check=False)
    assert not held.strip()
    dump = shutil.which("pg_dump") or next(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    runs = team.store.run(dump, "-h", team.store.address, "-U", "mlflow", "mlflow")
    assert "train_cgan" in runs
    assert not re.search(hidden.replace("\\|", "|"), runs)
