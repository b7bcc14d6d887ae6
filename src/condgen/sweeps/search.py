"""Ray Tune runs a sweep's trials, on this machine or on a cluster, and chooses what is tried next."""

import logging
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from condgen.base import files, pipeline
from condgen.base.errors import UserError, one_line, without_secrets
from condgen.sweeps import plan
from condgen.sweeps.trial import PATIENCE, STOP_SECONDS, Home, Trial, git
from condgen.tracking import address

STATES = ".dvc/tmp/sweeps"  # what Ray keeps of a sweep, to go on with it
ATTEMPTS = 3  # of a trial whose machine or process dies
LOGINS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
EXTRA = "pip install -c constraints.txt -e '.[sweep]'"


@dataclass(frozen=True)
class Ended:
    """A trial at its end: its experiment, values, the metric, or why there is none; command -> seconds."""

    name: str
    values: plan.Values
    metric: float | None
    why: str
    failed: bool
    took: dict[str, float] = field(default_factory=dict)


def home(name: str, cluster: bool) -> Home:
    """Where the trials of a sweep come from and go. Raises UserError if results could be lost.

    On this machine: this repository, its cache and its MLflow store. On a cluster: the git remote origin, the
    DVC remote and the tracking server, which every machine can reach.
    """
    root = pipeline.root()
    if git("status", "--porcelain", "--untracked-files=no", cwd=root):
        raise UserError("there are changes that are not committed: commit them, trials run the commit")
    commit, uri = git("rev-parse", "HEAD", cwd=root), address.address()
    if not cluster:
        here = {"MLFLOW_TRACKING_URI": uri} if uri.startswith(address.SQLITE) else {}
        mirror = os.environ.get("MNIST_MIRROR", "")
        if mirror and (root / mirror).is_dir():
            here["MNIST_MIRROR"] = str((root / mirror).resolve())  # a clone is somewhere else
        cache, folder = root / _dvc("cache", "dir"), root / STATES / f"{name}-trials"
        return Home(name, str(root), commit, str(cache), str(folder), here)
    if uri.startswith(address.SQLITE):
        raise UserError("MLFLOW_TRACKING_URI must name a server that every machine of the cluster reaches")
    if not _dvc("config", "core.remote"):
        raise UserError("there is no default DVC remote, to which trials could push: 'dvc remote add -d'")
    origin = git("remote", "get-url", "origin", cwd=root)
    if not git("branch", "--remotes", "--list", "origin/*", "--contains", commit, cwd=root):
        raise UserError(f"origin lacks the commit {commit[:7]}: 'git push'")
    # Every machine has logins of its own.
    there = {"MLFLOW_TRACKING_URI": without_secrets(uri), "MLFLOW_EXPERIMENT_NAME": address.experiment()}
    return Home(name, without_password(origin), commit, None, None, there)


def without_password(origin: str) -> str:
    """A remote's address as every machine may use it: over ssh the user stays, who is `git` on most sites."""
    user = re.match(r"ssh://([^:/@]+)(:[^/]*)?@", origin)
    plain = without_secrets(origin)
    return plain.replace("://", f"://{user[1]}@", 1) if user else plain


def _dvc(*words: str) -> str:
    """What a DVC command prints; nothing if it fails."""
    try:
        done = subprocess.run(
            ["dvc", *words], cwd=pipeline.root(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UserError("dvc is not installed, or not on the PATH: activate the environment") from None
    return done.stdout.strip() if done.returncode == 0 else ""


def run(
    path: Path, sweep: plan.Sweep, at: str | None, resume: bool, say: Callable[[str], None]
) -> list[Ended]:
    """Runs the sweep in the file `path`; returns its trials, the best first. at: a cluster's address.

    say: gets a line for each trial that ends. Raises UserError.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    # What a trial says after an epoch, and at its end, are different numbers.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    # A trial that is stopped may wait for MLflow before it ends.
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", str(PATIENCE + 2 * STOP_SECONDS))
    try:
        import ray
        from ray import tune
    except ImportError:
        raise UserError(f"Ray is not installed: {EXTRA}") from None
    from condgen.sweeps.actor import Actor
    from condgen.sweeps.progress import Progress

    of, state = home(path.stem, at is not None), pipeline.root() / STATES
    if (state / path.stem).exists() != resume:
        hint = "--resume goes on with it" if not resume else "without --resume it begins"
        raise UserError(f"the sweep {path.stem} was {'not ' if resume else ''}begun: {hint}")
    begun = state / f"{path.stem}.commit"
    if not resume:
        files.write(begun, of.commit.encode())
    elif begun.is_file() and (at_start := begun.read_text(encoding="utf-8")) != of.commit:
        short = at_start[:7]
        raise UserError(f"the sweep {path.stem} was begun at commit {short}: 'git checkout {short}' first")
    here: dict[str, Any] = {} if at else {"num_cpus": sweep.at_once * sweep.cpus, "include_dashboard": False}
    needs = {"CPU": sweep.cpus, **({"GPU": sweep.gpus} if sweep.gpus else {})}
    try:
        ray.init(address=at or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"this machine is no node of a Ray cluster at {at}: {one_line(error)}") from None
    try:
        _room(ray.nodes(), needs)
        actor = tune.with_resources(tune.with_parameters(Actor, home=of, sweep=sweep), needs)
        if resume:
            tuner = tune.Tuner.restore(str(state / path.stem), actor, resume_errored=True)
        else:
            settings = [] if sweep.search == "tpe" else plan.settings(sweep, path)
            tuner = tune.Tuner(
                actor,
                param_space=_space(sweep, path, settings),
                tune_config=_configuration(sweep),
                run_config=tune.RunConfig(
                    name=path.stem,
                    storage_path=str(state),
                    # Nobody needs Ray's own at the end, for which workers would have to reach this folder.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
                    callbacks=[Progress(say, sweep, of.sweep, settings)],
                    verbose=0,
                ),
            )
        with without_logins():
            results: Any = tuner.fit()
        if any(not (result.error or (result.metrics or {}).get("done")) for result in results):
            raise UserError("the sweep was stopped: --resume goes on with it")
        ended = _ended(results, of, sweep)
    finally:
        ray.shutdown()
    _close(of, say)
    return ended


@contextmanager
def without_logins() -> Iterator[None]:
    """Hides the store's login: Ray Tune would send it to all machines, whose agents write it into their logs.

    Each machine has its own. (ENV_VARS_TO_PROPAGATE in ray/tune/execution/class_cache.py)
    """
    hidden = {name: os.environ.pop(name) for name in LOGINS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _room(nodes: list[dict[str, Any]], needs: dict[str, float]) -> None:
    """Raises UserError if no machine has what a trial takes: it would wait for ever."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(kind, 0) >= count for kind, count in needs.items()) for node in there):
        has = "; ".join(", ".join(f"{node.get(kind, 0):g} {kind}" for kind in needs) for node in there)
        asked = ", ".join(f"{count:g} {kind}" for kind, count in needs.items())
        raise UserError(f"a trial takes {asked} (cpus and gpus of the sweep), but the machines have: {has}")


def _close(of: Home, say: Callable[[str], None]) -> None:
    """Closes the runs of attempts that died with their machine: nobody else will."""
    from condgen.tracking import cleaning, store

    try:
        # Two machines may run a sweep of this name, each by itself.
        host = platform.node() if of.folder else None
        closed = cleaning.close(store.existing(), of.sweep, of.commit, host)
    except UserError as error:
        say(f"runs of attempts that died may still be shown as running: {error}")
        return
    if closed:
        say(f"{closed} runs of attempts that died are closed as KILLED")


def _space(sweep: plan.Sweep, path: Path, settings: list[plan.Values]) -> dict[str, Any]:
    """Ray's search space; for a list of settings, the settings themselves."""
    from ray import tune

    if sweep.search != "tpe":
        return {"values": tune.grid_search(settings)}
    found: dict[str, Any] = {}
    for name, choices in sweep.vary.items():
        if not isinstance(choices, plan.Range):
            found[name] = tune.choice(choices)
        elif choices.whole:
            whole = tune.lograndint if choices.log else tune.randint
            found[name] = whole(int(choices.low), int(choices.high) + 1)
        else:
            found[name] = (tune.loguniform if choices.log else tune.uniform)(choices.low, choices.high)
    return {"values": plan.fixed(sweep, path) | found}


def _configuration(sweep: plan.Sweep) -> Any:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from condgen.sweeps.actor import Search

    scheduler = (
        None
        if sweep.stop is None
        else ASHAScheduler(
            time_attr="epoch",
            metric="number",
            mode=sweep.stop.direction,
            max_t=100_000,  # epochs: the parameters say when a training ends
            grace_period=sweep.stop.grace,
            reduction_factor=sweep.stop.factor,
        )
    )
    return tune.TuneConfig(
        search_alg=Search(metric="metric", mode=sweep.direction, seed=sweep.search_seed)
        if sweep.search == "tpe"
        else None,
        num_samples=(sweep.trials or 1) if sweep.search == "tpe" else 1,
        max_concurrent_trials=sweep.at_once,
        scheduler=scheduler,
    )


def _ended(results: Any, of: Home, sweep: plan.Sweep) -> list[Ended]:
    found = {}
    for result in results:
        numbers, values = result.metrics or {}, (result.config or {}).get("values", {})
        why = numbers.get("failed") or (str(result.error).strip().splitlines()[-1] if result.error else "")
        metric, name = numbers.get("metric"), name_of(of.sweep, values)
        said, took = without_secrets(why or "stopped early"), numbers.get("took", {})
        if name not in found or metric is not None:  # the same values may have been tried twice
            found[name] = Ended(name, values, metric, said, bool(why), took)
    sign = 1 if sweep.direction == "min" else -1
    return sorted(found.values(), key=lambda t: (t.metric is None, sign * (t.metric or 0), t.name))


def name_of(sweep: str, values: plan.Values) -> str:
    """A trial's experiment: the sweep's name, and a hash of the values."""
    return f"{sweep}-{plan.digest(values)}"


def begin(of: Home, values: plan.Values, folder: str) -> Trial:
    """Starts a trial. folder: for it alone, where the home has no folder for all."""
    name = name_of(of.sweep, values)
    return Trial(of, name, values, Path(of.folder, name) if of.folder else Path(folder))


def text(trials: list[Ended], sweep: plan.Sweep, cluster: bool) -> str:
    """The table of trials, best first, and the command that applies the best one."""
    every = [t.values for t in trials]
    lines = [f"{'experiment':24}  {sweep.metric:>28}  what was set"]
    for t in trials:
        shown = f"{t.metric:.5g}" if t.metric is not None else t.why
        lines.append(f"{t.name:24}  {shown:>28}  {plan.described(t.values, every)}")
    if ran := [t.took for t in trials if t.took]:
        commands = dict.fromkeys(command for took in ran for command in took)
        seconds = {command: sum(took.get(command, 0.0) for took in ran) / len(ran) for command in commands}
        lines.append("seconds a trial: " + ", ".join(f"{command} {s:.1f}" for command, s in seconds.items()))
    if trials and trials[0].metric is not None:
        best = trials[0].name
        pull = f"dvc exp pull origin {best} && " if cluster else ""
        lines.append(f"best: {best}: {pull}dvc exp apply {best}")
    return "\n".join(lines)


def save_view(sweep: str) -> str:
    """Saves a view of the sweep's runs; its address in the MLflow UI that `make ui` starts, or the server's.

    Raises UserError where the store cannot be read or written.
    """
    from condgen.tracking import store, views

    opened = store.existing()
    key, tag = views.of_sweep(sweep, int(time.time() * 1000))
    with store.asking("save a view"):
        opened.client.set_experiment_tag(opened.experiment, views.TAG + key, tag)
    server = without_secrets(opened.uri).rstrip("/")
    base = address.LOCAL_UI if server.startswith(address.SQLITE) else server
    view = f"viewStateShareKey={quote(key)}&workflowType=machine_learning"
    return f"{base}/#/experiments/{opened.experiment}/runs?{view}"
