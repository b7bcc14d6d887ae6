"""A pipeline that is killed repeatedly, in every stage and in every way, ends with the same files.

`make test-kill` runs the full test; `make test-slow` kills four times. CONDGEN_KILL_SEED seeds the moments.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from typing import NamedTuple

import psutil
import pytest
import yaml

from clone import Clone

STAGES = ["download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"]
SEED = int(os.environ.get("CONDGEN_KILL_SEED", "0"))
GROUP = {"ctrl-c": signal.SIGINT, "terminate": signal.SIGTERM, "hang up": signal.SIGHUP}
# The moments that come after one SIGKILL of everything in each stage.
OTHER_WAYS = 4 * ["everything"] + 4 * ["stage"] + 4 * ["dvc"] + 2 * ["courier"] + 2 * ["ctrl-c"]
OTHER_WAYS += ["terminate", "hang up"]
ROUNDS = 3


class Moment(NamedTuple):
    stage: str
    share: float  # of the stage's usual time, from 0 to 1
    way: str  # who is killed


class Repro:
    """A `dvc repro` in its own session, as in a terminal, with its output in a file."""

    def __init__(self, clone, *targets):
        self.clone, self.log = clone, clone.path.parent / f"{time.monotonic_ns()}.log"
        # A test run in the background or under nohup would pass on ignored signals.
        ours = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["dvc", "repro", *targets],
                cwd=clone.path,
                env=clone.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for number, handler in ours.items():
            signal.signal(number, handler)

    def output(self):
        return self.log.read_text(errors="replace")

    def stages(self):
        return re.findall(r"^Running stage '(\w+)'", self.output(), re.MULTILINE)

    def ended(self, seconds=0.0):
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.process.poll() is not None

    def reaches(self, stage):
        """Waits for a stage or a later one. Returns False if the pipeline ended first."""
        while not any(STAGES.index(found) >= STAGES.index(stage) for found in self.stages()):
            if self.ended(0.05):
                return False
        return True

    def succeeds(self):
        assert self.ended(300), self.output()
        assert self.process.returncode == 0, self.output()

    def durations(self):
        """Waits for the end. Returns stage -> seconds until the next stage starts."""
        began = {}
        while not self.ended(0.05):
            began |= {stage: time.monotonic() for stage in self.stages() if stage not in began}
        self.succeeds()
        ends = [*list(began.values())[1:], time.monotonic()]
        return {stage: end - start for (stage, start), end in zip(began.items(), ends, strict=True)}

    def kill(self, way):
        """Kills. Returns the stage that was hit, or None if nothing was running."""
        if self.ended():
            return None
        try:
            dvc = psutil.Process(self.process.pid)
            below = dvc.children(recursive=True)
            hit = {"everything": [dvc, *below], "dvc": [dvc]}.get(way, [])
            for process in below:
                words = " ".join(process.cmdline())
                is_courier = "condgen.tracking" in words
                if (way == "courier" and is_courier) or (
                    way == "stage" and not is_courier and "stages/" in words
                ):
                    hit.append(process)
            if way in GROUP:
                os.killpg(self.process.pid, GROUP[way])
        except (psutil.NoSuchProcess, ProcessLookupError):
            return None
        for process in hit:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        return self.stages()[-1] if hit or way in GROUP else None


class Disturbed:
    """A clone in which `dvc repro` is killed at each moment, and started again at once."""

    def __init__(self, clone, typical, *targets):
        self.clone, self.typical, self.targets = clone, typical, targets
        self.kills = []  # (stage, way)
        self.said = []  # what every dvc and stage printed
        self.last = None

    def round(self, moments):
        """Returns the moments that came too late, at half their time: a resumed stage is shorter."""
        repro = Repro(self.clone, *self.targets)
        late = []
        for moment in moments:
            reached = repro.reaches(moment.stage)
            repro.ended(moment.share * self.typical[moment.stage])
            hit = repro.kill(moment.way) if reached else None
            if hit is None:
                late.append(moment._replace(share=moment.share / 2))
                continue
            self.kills.append((hit, moment.way))
            if moment.way == "courier" or not repro.ended(20):
                continue  # the pipeline goes on
            self.said.append(repro.output())
            repro = Repro(self.clone, *self.targets)
        repro.succeeds()
        self.said.append(repro.output())
        self.last = repro
        return late


def new_clone(root, path, **quick):
    clone = Clone(root, path, threads=1, **quick)
    temporary = path.parent / "tmp"
    temporary.mkdir()
    clone.env["TMPDIR"] = str(temporary)
    return clone


def everything_anew(clone, seed):
    """Makes every stage run again, over the files of the last run and with another seed."""
    path = clone.path / "params.yaml"
    path.write_text(re.sub(r"^( *seed:) \d+", rf"\g<1> {seed}", path.read_text(), flags=re.MULTILINE))
    (clone.path / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(clone.path / ".dvc/cache/runs", ignore_errors=True)


def results(clone):
    """The state after a run: dvc.lock's outs, the bytes of all files in data/, git status, leftovers."""
    lock = yaml.safe_load((clone.path / "dvc.lock").read_text())["stages"]
    files = {
        p.relative_to(clone.path): p.read_bytes() for p in (clone.path / "data").rglob("*") if p.is_file()
    }
    return {
        "outs": {stage: found["outs"] for stage, found in lock.items()},
        "files": files,
        "git": clone.run("git", "status", "--porcelain", "--untracked-files=all"),
        "resume": [p for p in (clone.path / "resume").rglob("*") if p.is_file()],
        "outbox": sorted(p.name for p in (clone.path / "outbox").iterdir()),
        "temporary": sorted(p.name for p in (clone.path.parent / "tmp").iterdir()),
    }


def assert_same(disturbed, undisturbed):
    for stage, outs in undisturbed["outs"].items():
        assert disturbed["outs"][stage] == outs, stage
    assert sorted(disturbed["files"]) == sorted(undisturbed["files"])
    for name, content in undisturbed["files"].items():
        assert disturbed["files"][name] == content, name
    rest = ("git", "resume", "outbox", "temporary")
    assert {key: disturbed[key] for key in rest} == {key: undisturbed[key] for key in rest}


def processes(clone):
    found = []
    for process in psutil.process_iter():
        try:
            if str(clone.path) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(process)
        except psutil.Error:
            pass
    return found


def assert_nothing_is_left(disturbed):
    clone = disturbed.clone
    end = time.monotonic() + 400
    while left := processes(clone):
        assert time.monotonic() < end, left
        time.sleep(0.2)
    assert "up to date" in clone.run("dvc", "status", *disturbed.targets)
    for path in (clone.path / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file():
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert path.parent.name + path.name.removesuffix(".dir") == md5, path
    for said in disturbed.said:
        assert "database is locked" not in said, said


def assert_mlflow_knows(disturbed):
    clone, last = disturbed.clone, disturbed.last
    experiment = clone.client.get_experiment_by_name("condgen").experiment_id
    runs = clone.client.search_runs([experiment], max_results=1000)
    status = Counter((run.data.tags["stage"] == "pipeline", run.info.status) for run in runs)
    assert {kind for _, kind in status} <= {"FINISHED", "KILLED"}, status
    children = {}
    for run in runs:
        children.setdefault(run.data.tags.get("mlflow.parentRunId"), []).append(run)
    for parent in children[None]:
        worst = {run.info.status for run in children[parent.info.run_id]}
        assert parent.info.status == ("KILLED" if "KILLED" in worst else "FINISHED"), parent.info.run_id
    if not last.stages():  # the last kill came after the last stage
        return status
    (parent,) = [run for run in children[None] if f"-{last.process.pid}-" in run.data.tags["execution"]]
    assert {run.data.tags["stage"] for run in children[parent.info.run_id]} == set(last.stages())
    assert parent.info.status == "FINISHED"
    reused = {key: value for key, value in parent.data.tags.items() if key.startswith("reused.")}
    assert "a run that is not in this store" not in reused.values(), reused
    return status


def plan(rng):
    """Rounds of moments: each stage is killed with everything around it, and in other ways too."""
    others = OTHER_WAYS.copy()
    rng.shuffle(others)
    moments = [
        Moment(STAGES[n % len(STAGES)], rng.random(), way)
        for n, way in enumerate(["everything"] * len(STAGES) + others)
    ]
    rng.shuffle(moments)
    rounds = [moments[n::ROUNDS] for n in range(ROUNDS)]
    return [sorted(found, key=lambda moment: STAGES.index(moment.stage)) for found in rounds]


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_a_pipeline_that_is_killed_everywhere_ends_with_the_same_files(root, tmp_path):
    quick = {"cvae__epochs": 30, "cgan__epochs": 60}
    undisturbed = new_clone(root, tmp_path / "undisturbed" / "condgen", **quick)
    clone = new_clone(root, tmp_path / "disturbed" / "condgen", **quick)
    expected, typical = {}, {}
    for seed in (1, 0):
        everything_anew(undisturbed, seed)
        typical = Repro(undisturbed).durations()
        expected[seed] = results(undisturbed)
    assert set(expected[0]["outs"]) == {*STAGES}
    assert expected[0]["outs"] != expected[1]["outs"]

    disturbed = Disturbed(clone, typical)
    rounds = plan(random.Random(SEED))
    for number, moments in enumerate(rounds):
        everything_anew(disturbed.clone, number % 2)
        before = len(disturbed.kills)
        late = disturbed.round(moments)
        if late and len(rounds) < 2 * ROUNDS:
            rounds.append(late)
        print(f"round {number}:", *(f"{stage}: {way}" for stage, way in disturbed.kills[before:]), sep="\n  ")
        assert_nothing_is_left(disturbed)
        print(f"  {dict(assert_mlflow_knows(disturbed))}")
        assert_same(results(disturbed.clone), expected[number % 2])
    assert len(disturbed.kills) >= 20, disturbed.kills
    assert {stage for stage, _ in disturbed.kills} == {*STAGES}, disturbed.kills


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pipeline_that_is_killed_four_times_ends_with_the_same_files(root, tmp_path):
    quick = {"cvae__epochs": 20, "cgan__epochs": 40}
    undisturbed = new_clone(root, tmp_path / "undisturbed" / "condgen", **quick)
    everything_anew(undisturbed, 1)
    typical = Repro(undisturbed, "sample").durations()
    disturbed = Disturbed(new_clone(root, tmp_path / "disturbed" / "condgen", **quick), typical, "sample")
    everything_anew(disturbed.clone, 1)
    ways = {"download": "terminate", "train_cvae": "everything", "train_cgan": "dvc", "sample": "everything"}
    rng = random.Random(SEED)
    # At most 0.7: a stage may be a fifth faster than before, and no stage follows the last one.
    disturbed.round([Moment(stage, rng.uniform(0.3, 0.7), way) for stage, way in ways.items()])
    assert len(disturbed.kills) == len(ways), disturbed.kills
    assert_nothing_is_left(disturbed)
    assert_mlflow_knows(disturbed)
    assert_same(results(disturbed.clone), results(undisturbed))
