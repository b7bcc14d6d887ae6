"""What a trial takes besides its work, and what asking takes, the more experiments a team has.

    make bench-scale                      6 trials on top of 0, 100, 1,000 and 10,000 experiments
    PYTHONPATH=tests python tests/cluster/scale.py --trials 1000 --filled 0 --at-once 4

The trials are real: Ray, a clone, DVC, MLflow on PostgreSQL, an S3 store and git, on one machine; their only
stage sleeps and logs. What is there before is filled in: copies of a trial's commit, and of its rows in the
data base. Every trial is counted at the end: on git, and in MLflow. Within a
sweep it prints the first 10 trials, the next 90, and each 100 after them.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
from hosts import why_not
from servers import POSTGRES, SECRETS, Team

ROOT = Path(__file__).resolve().parents[2]
SLEEP = 1.0  # seconds, the work of a trial
PIPELINE = """
stages:
  evaluate:
    cmd: python stages/evaluate.py
    deps:
      - stages/evaluate.py
    params:
      - cgan.lr
    outs:
      - data/report.html
      - data/metrics/evaluate.json:
          cache: false
"""
STAGE = f"""
import sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from condgen import preflight

preflight.prepare()
from condgen import tracking
from condgen.base import files, params


def main():
    lr = params.flat()["cgan.lr"]
    with tracking.stage("evaluate") as run:
        time.sleep({SLEEP})
        files.write("data/report.html", str(lr).encode() * 1000)
        files.write_json("data/metrics/evaluate.json", {{"cgan": {{"recall": lr}}}})
        for parent in (False, True):
            run.numbers({{"cgan.recall": lr}}, parent=parent)


preflight.run(main)
"""
SWEEP = """
vary:
  cgan.lr: {values}
metric: cgan.recall
direction: max
at_once: {at_once}
cpus: 1
"""
# Of a trial, whose seconds it says; the last only where a courier left something.
COMMANDS = (
    "git clone",
    "dvc cache dir",
    "dvc pull",
    "dvc exp run",
    "dvc push",
    "dvc exp push",
    "condgen deliver",
)
# Tables of MLflow with the rows of a run; `runs` first, to which the others refer.
TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")


class Sleepers(Team):
    """A team whose pipeline only sleeps and logs."""

    def __init__(self, folder, sizes, at_once):
        super().__init__(ROOT, folder)
        path, start = self.clone.path, 0
        self.clone.run("git", "rm", "-q", "-r", "-f", "dvc.lock", "data")
        (path / "dvc.yaml").write_text(PIPELINE)
        (path / "stages/evaluate.py").write_text(STAGE)
        for i, size in enumerate(sizes):
            values = [f"0.01{number:06}" for number in range(start + 1, start + size + 1)]
            text = SWEEP.format(values=f"[{', '.join(values)}]", at_once=at_once)
            (path / f"sweeps/scale{i}.yaml").write_text(text)
            start += size
        self.clone.commit("a pipeline that sleeps")

    def fill(self, many, of):
        """Copies the experiments and runs of the sweep `of` until there are `many` experiments."""
        refs = self.clone.run("git", "ls-remote", "origin", "refs/exps/*").split()[1::2]
        lacking = many - len(refs)
        if lacking <= 0:
            return
        self._fill_git(next(ref for ref in refs if f"/{of}-" in ref), lacking)
        self._fill_runs(of, lacking)

    def _fill_git(self, ref, lacking):
        bare = self.folder / "state/git/condgen.git"
        git = ["git", "-C", str(bare), "-c", "safe.directory=*"]
        parameters = subprocess.run([*git, "show", f"{ref}:params.yaml"], capture_output=True, check=True)
        lines = []
        for number in range(lacking):
            text = parameters.stdout + f"# {number} of {lacking}\n".encode()
            folder = ref.rpartition("/")[0]
            lines += [
                f"commit {folder}/filled{lacking}-{number}\n"
                f"committer a <a@b> {1_700_000_000 + number} +0000\ndata 0\nfrom {ref}^0\n"
                f"M 100644 inline params.yaml\ndata {len(text)}\n".encode()
                + text
                + b"\n"
            ]
        subprocess.run([*git, "fast-import", "--quiet"], input=b"".join(lines), check=True)

    def _fill_runs(self, of, lacking):
        """Copies each run of one trial, with its child, so many times."""
        login = {"user": "mlflow", "password": SECRETS["PGPASSWORD"], "dbname": "mlflow"}
        with psycopg2.connect(host=self.store.address, **login) as connection:
            cursor = connection.cursor()
            cursor.execute("select run_uuid from tags where key = 'sweep' and value = %s limit 1", (of,))
            cursor.execute(
                "select run_uuid from tags where key = 'execution' and value = "
                "(select value from tags where key = 'execution' and run_uuid = %s)",
                cursor.fetchone(),
            )
            copied = tuple(row[0] for row in cursor.fetchall())
            for table in TABLES:
                cursor.execute(
                    "select column_name from information_schema.columns where table_name = %s and "
                    "table_schema = 'public' and is_identity = 'NO'",
                    (table,),
                )
                columns = [row[0] for row in cursor.fetchall()]
                chosen = ", ".join(f"{table}.{c}" for c in columns)
                chosen = chosen.replace(f"{table}.run_uuid", f"md5({table}.run_uuid || 'x' || g + {lacking})")
                if table == "tags":  # the parent's name, and what is one execution's own
                    new = (
                        f"case when key = 'mlflow.parentRunId' then md5(value || 'x' || g + {lacking}) "
                        f"when key in ('execution', 'journal') then value || g + {lacking} else value end"
                    )
                    chosen = chosen.replace("tags.value", new)
                cursor.execute(
                    f"insert into {table} ({', '.join(columns)}) select {chosen} "
                    f"from {table}, generate_series(1, {lacking}) g where run_uuid in %s",
                    (copied,),
                )

    def seconds(self, *words):
        """What a command takes, on the head."""
        start = time.monotonic()
        self.condgen(*words[1:]) if words[0] == "condgen" else self.head.run(*words, cwd=self.clone.path)
        return time.monotonic() - start

    def ends(self, name):
        """When each trial of a sweep ended, in seconds, and what it took by command, in order."""
        found = []
        for path in (self.clone.path / ".dvc/tmp/sweeps" / name).rglob("result.json"):
            last = json.loads(path.read_text().splitlines()[-1])
            found.append((last["timestamp"], last["took"]))
        return sorted(found, key=lambda end: end[0])

    def lost(self, name, size):
        """What is missing of a sweep, on git and in MLflow; 0, 0 if nothing is."""
        refs = self.clone.run("git", "ls-remote", "origin", "refs/exps/*").split()[1::2]
        finished = {
            run.info.run_name
            for run in self.runs(name)
            if run.data.tags["stage"] == "pipeline" and run.info.status == "FINISHED"
        }
        return size - sum(f"/{name}-" in ref for ref in refs), size - len(finished)


def measure(team, name, size, at_once):
    """A row: seconds of a trial by command, of the engine, and what asking takes after it."""
    start, start_clock = time.monotonic(), time.time()
    code = team.sweep(name).wait()
    total = time.monotonic() - start
    said = team.said(name)
    assert code == 0, said
    line = next(line for line in said.splitlines() if line.startswith("seconds a trial: "))
    took = {key: float(value) for key, value in re.findall(r"([a-z ]+) ([0-9.]+)", line.partition(": ")[2])}
    took = {key.strip(): value for key, value in took.items()}
    git, mlflow = team.lost(name, size)
    asked = {
        "git ls-remote": team.seconds("git", "ls-remote", "origin"),
        "dvc exp list origin": team.seconds("dvc", "exp", "list", "origin"),
        "condgen compare": team.seconds(
            "condgen", "compare", "--metric", "cgan.recall", "--csv", team.folder / "compare.csv"
        ),
    }
    engine = total * at_once / size - sum(took.values())
    curve(start_clock, team.ends(name), at_once)
    mine = {"wall": total / size, "engine": engine, "lost on git": git, "lost in MLflow": mlflow}
    return mine | {command: took.get(command, 0.0) for command in COMMANDS} | asked


def curve(start, ends, at_once):
    """Prints seconds a trial of the first 10, the next 90, and each 100 after them; start: of the sweep."""
    first = 0
    for last in (10, *range(100, len(ends) + 100, 100)):
        chosen = ends[first:last]
        if not chosen:
            return
        wall = (chosen[-1][0] - start) / len(chosen)
        took = {c: sum(took.get(c, 0.0) for _, took in chosen) / len(chosen) for c in COMMANDS}
        row = {"wall": wall, "engine": wall * at_once - sum(took.values())} | took
        said = ", ".join(f"{key} {value:.2f}" for key, value in row.items())
        print(f"trials {first + 1} to {first + len(chosen)}: {said}", flush=True)
        first, start = last, chosen[-1][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=6, help="real ones, at each size")
    parser.add_argument("--filled", type=int, nargs="*", default=[0, 100, 1_000, 10_000])
    parser.add_argument("--at-once", type=int, default=2)
    a = parser.parse_args()
    if reason := why_not() or (None if POSTGRES else "there is no PostgreSQL: apt install postgresql"):
        sys.exit(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the hosts must go, whoever ends this
    folder = Path(tempfile.mkdtemp(prefix="condgen-scale-"))
    folder.chmod(0o755)
    team = Sleepers(folder, [a.trials] * len(a.filled), a.at_once)
    try:
        team.begin()
        team.worker("w1", 11, a.at_once)
        for i, filled in enumerate(a.filled):
            if i:
                team.fill(filled, "scale0")
            row = measure(team, f"scale{i}", a.trials, a.at_once)
            if not i:
                print("experiments", *row, sep=",")
            print(filled, *(f"{value:.2f}" for value in row.values()), sep=",", flush=True)
    finally:
        team.network.close()
        print(f"logs are in {folder}", file=sys.stderr)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
