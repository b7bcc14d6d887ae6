"""`condgen doctor`: whether this machine can use what the team shares, in one line each.

It changes nothing that stays: what a check writes it removes. Every check has a few seconds, and they run at
the same time.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import requests
from packaging.requirements import Requirement

from condgen.base import params, pipeline
from condgen.base.errors import UserError, one_line, without_secrets
from condgen.datasets import download, sets
from condgen.team import remote
from condgen.tracking import health
from condgen.tracking.health import Unusable

SECONDS = 15  # that a check has
LONGER = {"data": 60, "Ray cluster": 40}  # they import PyTorch and start a driver
RAY_SECONDS = LONGER["Ray cluster"] - 2
FREE_BYTES = 2e9  # a run of the article's recipe leaves 0.3 GB in data/, DVC's cache and MLflow
SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY)$", re.IGNORECASE)  # how their names end
PROBE = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
nodes = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps([len(nodes), sum(node["Resources"].get("CPU", 0) for node in nodes)]))
"""


@dataclass(frozen=True)
class Line:
    """What a check came to. do: what to do about it; empty if it is well."""

    what: str
    seen: str
    do: str = ""

    @property
    def ok(self) -> bool:
        return not self.do

    def __str__(self) -> str:
        said = one_line(self.seen if self.ok else f"{self.seen}: {self.do}", 500)
        return f"{'ok' if self.ok else 'not':3}  {self.what:11}  {_hidden(said)}"


Check = Callable[[], str]
"""Returns what was seen; raises Unusable."""


def run(address: str | None, say: Callable[[str], None]) -> int:
    """Says a line for each check, in order. Returns how many failed. address: of a Ray cluster."""
    checks: dict[str, Check] = {
        "packages": lambda: packages(pipeline.root(), address is not None),
        "disk": disk,
        "data": data,
        "git remote": git_remote,
        "DVC remote": lambda: remote.check(pipeline.root()),
        "tracking": health.check,
    }
    if address is not None:
        checks["Ray cluster"] = lambda: ray_cluster(address)
    lines = together(checks)
    for line in lines:
        say(str(line))
    return sum(not line.ok for line in lines)


def together(checks: Mapping[str, Check], seconds: float = SECONDS) -> list[Line]:
    """Runs checks at the same time; one that gives no answer in time has failed."""
    found: dict[str, Line] = {}

    def one(what: str, check: Check) -> None:
        try:
            found[what] = Line(what, check())
        except Unusable as error:
            found[what] = Line(what, error.seen, error.do)
        except Exception as error:  # of a library: what it says is all that is known
            found[what] = Line(what, one_line(error), "see docs/team.md")

    # Daemons: a library that hangs must not keep the command from its end.
    threads = {
        what: threading.Thread(target=one, args=(what, check), daemon=True) for what, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    for what, thread in threads.items():
        thread.join(LONGER.get(what, seconds))
    silent = "is the server up, and the way to it open?"
    return [
        found.get(what) or Line(what, f"no answer within {LONGER.get(what, seconds):g} s", silent)
        for what in checks
    ]


def _hidden(text: str) -> str:
    """Without the values of variables that hold secrets, should a library have said one."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) > 5:
            text = text.replace(value, "***")
    return text


def packages(root: Path, cluster: bool) -> str:
    """Python and the packages that pyproject.toml asks for; those of a sweep for a cluster."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"]["sweep"] if cluster else [])
    wrong = []
    for requirement in map(Requirement, wanted):
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(there, prereleases=True):
            wrong.append(f"{requirement.name} is {there}, but must be {requirement.specifier}")
    python = "{}.{}.{}".format(*sys.version_info)
    if wrong:
        extra = "[sweep]" if cluster else ""
        raise Unusable("; ".join(wrong), f"pip install -c constraints.txt -e '.{extra}'")
    pins = _pins(root / "constraints.txt")
    names = {Requirement(text).name for text in wanted}
    other = [
        f"{name} {version(name)}" for name in sorted(names) if pins.get(name) not in (None, version(name))
    ]
    said = f"Python {python}, {len(names)} packages"
    return f"{said}; not as tested: {', '.join(other)}" if other else f"{said} as in constraints.txt"


def _pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: pin for name, mark, pin in (line.partition("==") for line in lines) if mark}


def disk() -> str:
    """Space for a few runs."""
    free = shutil.disk_usage(pipeline.root()).free
    if free < FREE_BYTES:
        do = f"make room to {FREE_BYTES / 1e9:g} GB: 'condgen prune'"
        raise Unusable(f"{free / 1e9:.1f} GB are free", do)
    return f"{free / 1e9:.0f} GB are free"


def data() -> str:
    """The data set: made already, or a source that can be reached."""
    root = pipeline.root()
    p = params.read(download.DataParams, root / params.PATH)
    results = root / "data/metrics/download.json"
    if (root / "data/dataset.npz").is_file() and results.is_file():
        return f"{json.loads(results.read_text(encoding='utf-8'))['data']}, in data/dataset.npz"
    if p.source == "bundled":
        return download.BUNDLED
    if p.dataset not in download.MIRRORED:
        if not (root / sets.SETS / p.dataset).exists():
            raise Unusable(f"{sets.SETS}/{p.dataset} does not exist", "correct data.dataset in params.yaml")
        return f"{sets.SETS}/{p.dataset}"
    from torchvision import datasets  # takes seconds

    kind = getattr(datasets, p.dataset)
    tried = []
    for place in filter(None, (os.environ.get("MNIST_MIRROR"), *kind.mirrors)):
        bare, login = download.split_login(place)
        name = kind.resources[0][0]
        if "://" not in bare or bare.startswith("file://"):
            there = (root / bare.removeprefix("file://") / name).is_file()
        else:
            try:
                url = f"{bare.rstrip('/')}/{name}"
                there = requests.head(url, auth=login, timeout=health.SECONDS, allow_redirects=True).ok
            except requests.RequestException:
                there = False
        if there:
            return f"{p.dataset} from {without_secrets(bare)}"
        tried.append(without_secrets(bare))
    do = "set MNIST_MIRROR to a URL or a folder that holds its four .gz files"
    raise Unusable(f"no {p.dataset} from {', '.join(tried)}", do)


def git_remote() -> str:
    """origin: reached, with the right to push."""
    root = pipeline.root()
    done = _git("remote", "get-url", "origin")
    if done.returncode:
        raise Unusable("there is no origin", "git remote add origin ADDRESS")
    shown = without_secrets(done.stdout.strip())
    reached = _git("ls-remote", "--heads", "origin")
    if reached.returncode:
        do = "correct 'git remote -v', the login or the server"
        raise Unusable(f"{shown} cannot be reached: {_last(reached.stderr)}", do)
    if not reached.stdout:
        raise Unusable(f"{shown} is empty", "git push origin HEAD")
    if _git("rev-parse", "HEAD").returncode:
        raise Unusable(f"{root} has no commit", "commit, then push")
    pushed = _git("push", "--dry-run", "--no-verify", "origin", "HEAD:refs/exps/condgen-doctor")
    if pushed.returncode:
        do = "ask for the right to push; a git daemon needs --enable=receive-pack"
        raise Unusable(f"{shown}: reached, but refuses pushes: {_last(pushed.stderr)}", do)
    return f"{shown}: reached, may push"


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    # It must not ask for a password: nobody would see the question.
    quiet = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    }
    words = ("git", "-c", "core.askPass=true", *words)
    try:
        return subprocess.run(
            words, cwd=pipeline.root(), env={**os.environ, **quiet}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS - 5, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"no answer within {SECONDS - 5} s")


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and "access rights" not in line]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
    return (fatal or lines or ["no message"])[0].removeprefix("fatal: ")


def ray_cluster(address: str) -> str:
    """A cluster that takes a driver of this machine: the same Ray and Python, and a node of it here."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto":
        if not port.isdigit():
            raise Unusable(f"--address is {address}, but must be HOST:PORT or auto", "usually HOST:6379")
        try:
            socket.create_connection((host, int(port)), timeout=health.SECONDS).close()
        except OSError as error:
            raise Unusable(
                f"{address} cannot be reached: {error}", "start the head: deploy/ray.sh head"
            ) from None
    words = [sys.executable, "-c", PROBE, address]
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        done = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=RAY_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        do = "is a Ray node of the cluster on this machine? 'deploy/ray.sh worker'"
        raise Unusable(f"{address} takes no driver from here within {RAY_SECONDS} s", do) from None
    if done.returncode:
        mismatch = re.search(r"Version mismatch:.*", done.stderr, re.DOTALL)
        if mismatch:
            raise Unusable(" ".join(mismatch[0].split()), "install the cluster's Ray and Python here")
        do = "is a Ray node of the cluster on this machine? 'deploy/ray.sh worker'"
        raise Unusable(f"{address}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", do)
    nodes, cpus = json.loads(done.stdout.splitlines()[-1])
    fit = "Ray {} and Python {}.{}".format(version("ray"), *sys.version_info)
    return f"{address}: {fit} fit, {nodes} nodes, {cpus:g} CPUs"


def main(address: str | None) -> None:
    """Prints the lines. Raises UserError if a check failed."""
    failed = run(address, lambda line: print(line, flush=True))
    if failed:
        raise UserError(f"{failed} of the checks failed")
