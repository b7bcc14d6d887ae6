"""A sweep over hosts: a head and two workers in network namespaces, with the servers of deploy/.

Whatever dies in the middle, every trial ends once, whole, with the results of an undisturbed one.
CONDGEN_TEST_TRIALS: how many trials the sweeps have, 2 to 6; default 6.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hosts import until, why_not
from servers import POSTGRES, SECRETS, Team

pytest.importorskip("ray", reason="the extra sweep is not installed")
pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
pytest.importorskip("psycopg2", reason="the extra server is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
TRIALS = int(os.environ.get("CONDGEN_TEST_TRIALS", "6"))


@pytest.fixture(scope="module")
def team(root, request):
    if reason := why_not():
        pytest.skip(reason)
    if not POSTGRES:
        pytest.skip("there is no PostgreSQL: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="condgen-cluster-"))
    folder.chmod(0o755)
    team = Team(root, folder, TRIALS)
    before = dict(os.environ)

    def interrupt(*_):
        raise KeyboardInterrupt

    ended = signal.signal(signal.SIGTERM, interrupt)  # the hosts must go, whoever ends this
    failed = True
    try:
        team.begin()
        team.w1, team.w2 = team.worker("w1", 11), team.worker("w2", 12)
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
    print(f"{TRIALS} trials, undisturbed: {time.monotonic() - start:.0f} s")
    return found


def running_trials(host, sweep):
    """Clones of a sweep's trials on a host whose stages are running."""
    walked = os.walk(host.folder / "ray")  # which passes over what is deleted meanwhile, as rglob does not
    return [
        Path(at)
        for at, _, files in walked
        if at.endswith("/clone") and f"/{sweep}/" in at and "dvc.yaml" in files
    ]


def forget(team):
    """The workers lose DVC's run caches, so that what another sweep ran is run again."""
    for host in (team.w1, team.w2):
        shutil.rmtree(host.folder / "home/.cache/condgen/dvc/runs", ignore_errors=True)


def in_training(host, sweep):
    """Clones of trials on a host that have stored an epoch of a training that goes on."""
    return [clone for clone in running_trials(host, sweep) if list((clone / "resume").glob("train_*"))]


def logs(host):
    """What the stages of a host's trials have said."""
    return "".join(path.read_text(errors="replace") for path in host.folder.rglob("log.txt"))


def test_the_doctor_finds_everything(team):
    until(lambda: "3 nodes" in team.condgen("doctor", "--address", team.address, check=False), 90)
    said = team.condgen("doctor", "--address", team.address).splitlines()
    assert [line.split()[0] for line in said] == ["ok"] * 7, said
    assert "artifacts can be written" in "\n".join(said)
    kept = team.folder / "state/mlflow/artifacts"
    assert not [path for path in kept.rglob("*") if path.is_file()], "what it wrote is removed"


def test_each_trial_is_an_experiment_on_the_remote(team, calm):
    assert len(calm) == TRIALS
    assert len({metrics for _, metrics in calm.values()}) == TRIALS
    runs = team.runs("calm")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len([run for run in runs if run.data.tags["stage"] == "pipeline"]) == TRIALS
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
    forget(team)
    before = logs(team.w2).count("resumes after epoch")
    process = team.sweep("storm")
    until(lambda: in_training(team.w1, "storm"), 240)
    team.w1.down()
    try:
        found = team.ended("storm", process)
        assert logs(team.w2).count("resumes after epoch") > before, "on the other host"
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
    assert len(whole) == TRIALS


def test_servers_that_are_down_for_a_while_and_a_killed_trial_change_nothing(team, calm):
    forget(team)
    process = team.sweep("outage")
    until(lambda: running_trials(team.w1, "outage") or running_trials(team.w2, "outage"), 240)
    for name in ("mlflow", "git"):
        team.stop(name)
    busy = team.w1 if running_trials(team.w1, "outage") else team.w2
    killed = busy.run("bash", "-c", "pkill -9 -f '[r]ay::.*Trainable' && echo killed", check=False)
    time.sleep(30)
    for name in ("git", "mlflow"):
        team.serve(name)
    assert "killed" in killed
    found = team.ended("outage", process)
    assert found == {trial: calm[trial] for trial in found}
    assert len(found) == 2
    assert {run.info.status for run in team.runs("outage")} <= {"FINISHED", "KILLED"}


def test_a_head_that_restarts_is_resumed(team, calm):
    forget(team)
    process = team.sweep("again")
    until(lambda: running_trials(team.w1, "again") or running_trials(team.w2, "again"), 240)
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
