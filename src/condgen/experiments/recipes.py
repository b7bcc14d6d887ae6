"""Recipes: named sets of parameters in recipes/*.yaml, run as DVC experiments.

A recipe names only what differs from params.yaml. `recipes/best.yaml` is one set; `recipes/ladder.yaml` has,
for each model, rungs from the article's recipe to the best one, each of which keeps what the rungs below set.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condgen import preflight
from condgen.base import params
from condgen.base.errors import UserError

FOLDER = "recipes"
LADDER = "ladder"


@dataclass(frozen=True)
class Rung:
    """One idea: its name, and all that differs from params.yaml with it, dotted name -> value."""

    idea: str
    values: Mapping[str, Any]


def named() -> list[str]:
    """The recipes there are."""
    return sorted(path.stem for path in Path(FOLDER).glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """Dotted name -> value, as in recipes/<name>.yaml. Raises UserError if params.yaml cannot take them."""
    return checked(params.dotted(_load(name)), f"{FOLDER}/{name}.yaml")


def ladder(name: str = LADDER) -> dict[str, list[Rung]]:
    """Section -> its rungs, the lowest first. Raises UserError if the file is no ladder."""
    path, found = f"{FOLDER}/{name}.yaml", {}
    for section, items in _load(name).items():
        if not (isinstance(items, list) and items):
            raise UserError(f"{path}: {section} must be a list of one or more rungs")
        rungs: list[Rung] = []
        for i, item in enumerate(items):
            if not (
                isinstance(item, dict) and set(item) == {"idea", "set"} and isinstance(item["set"], dict)
            ):
                raise UserError(f"{path}: {section}[{i}] must have the keys idea and set, and no others")
            new = {f"{section}.{key}": value for key, value in item["set"].items()}
            rungs.append(Rung(str(item["idea"]), {**(rungs[-1].values if rungs else {}), **new}))
        found[section] = rungs
        for rung in rungs:
            checked(rung.values, f"{path}: {rung.idea}")
    return found


def experiments(rungs: Mapping[str, Sequence[Rung]]) -> dict[str, dict[str, Any]]:
    """Experiment -> its values: rung k of every model in one, so that they share the stages around them.

    A model with fewer rungs stays on its last one, whose stages DVC does not run again.
    """
    height = max(map(len, rungs.values()))
    together = [[of[min(k, len(of) - 1)].values for of in rungs.values()] for k in range(height)]
    return {
        f"{LADDER}-{k}": {n: v for part in parts for n, v in part.items()} for k, parts in enumerate(together)
    }


def given(words: Sequence[str]) -> dict[str, Any]:
    """["seed=1"] -> {"seed": 1}. Raises UserError."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UserError(f"-S is {word!r}, but must be KEY=VALUE, such as seed=1")
        found |= {key: params.parse(f"value: {value}", "-S")["value"]}
    return checked(found, "-S")


def checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values, once params.yaml with them is right. Raises UserError before any work is done."""
    return checked_in(params.load(params.PATH), values, source)


def checked_in(content: Mapping[str, Any], values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """As `checked`, with the content of params.yaml, which takes much longer to read than to check."""
    content, known = dict(content), params.dotted(dict(content))
    for name, value in values.items():
        section, _, key = name.partition(".")
        if name not in known:
            raise UserError(f"{source}: {name} is no parameter of params.yaml")
        content[section] = content[section] | {key: value} if key else value
    preflight.check_params(source, content)
    return dict(values)


def command(name: str, values: Mapping[str, Any], *options: str) -> list[str]:
    """The `dvc exp run` that runs the values as experiment `name`, beside the workspace and not in it."""
    sets = [word for key, value in values.items() for word in ("-S", f"{key}={params.as_text(value)}")]
    return ["dvc", "exp", "run", *options, "-n", name, *sets]


def run(name: str, values: Mapping[str, Any], *options: str) -> None:
    """Runs, or with "--queue" queues, an experiment; one of this name is replaced. Raises UserError."""
    # DVC refuses a name that is taken; its --force would also train again what has not changed.
    subprocess.run(["dvc", "exp", "remove", "--quiet", name], capture_output=True, check=False)
    _call(command(name, values, *options))


def run_queue() -> None:
    """Runs what is queued, one after another, beside the workspace. Raises UserError."""
    _call(["dvc", "exp", "run", "--run-all"])


def _call(words: list[str]) -> None:
    print(" ".join(words), flush=True)
    try:
        status = subprocess.run(words, check=False).returncode
    except FileNotFoundError:
        raise UserError("dvc is not installed, or not on the PATH: activate the environment") from None
    if status:
        raise UserError(f"'{' '.join(words[:4])}' ended with status {status}")


def _load(name: str) -> dict[str, Any]:
    if name not in named():
        if not Path(FOLDER).is_dir():
            raise UserError(f"{FOLDER}/ is missing: run from a checkout of condgen")
        raise UserError(f"there is no recipe {name}: {FOLDER} has {', '.join(named()) or 'none'}")
    return params.load(f"{FOLDER}/{name}.yaml")
