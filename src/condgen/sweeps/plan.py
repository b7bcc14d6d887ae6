"""What a sweep tries: sweeps/*.yaml, typed and checked as params.yaml is."""

import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from condgen.base import params, pipeline
from condgen.base.errors import UserError
from condgen.experiments import recipes

Values = dict[str, Any]
"""Parameter -> its value in a trial, such as {"cgan.lr": 0.0002}."""
RESULTS = Path("data/metrics/evaluate.json")
NAME = re.compile(r"\w[\w-]*(\.[\w-]+)*", re.ASCII)
ALWAYS = {"evaluate.reference": "validation"}  # a search never looks at test images


class Failed(UserError):
    """A trial failed by its own fault: another attempt would fail again."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Range(_Strict):
    """Numbers from low to high; log: even in their logarithm; whole: whole numbers, high included."""

    low: float = Field(description="a number")
    high: float = Field(description="a number")
    log: bool = Field(default=False, description="true or false")
    whole: bool = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, but must be below high, {self.high}")
        if self.whole and math.ceil(self.low) > math.floor(self.high):
            raise ValueError(f"there is no whole number from {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, but must be above 0 with log")
        return self

    def draw(self, noise: random.Random) -> float:
        """A number in the range."""
        if self.whole and not self.log:
            return noise.randint(math.ceil(self.low), math.floor(self.high))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        drawn = noise.uniform(low, high)
        number = min(max(math.exp(drawn) if self.log else drawn, self.low), self.high)
        return round(number) if self.whole else float(f"{number:.4g}")


class Stop(_Strict):
    """Asynchronous successive halving on a number of each epoch.

    Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv:1810.05934): at `grace`
    epochs, and at `factor` times as many each time, only the best of `factor` trials go on.
    """

    number: str = Field(description="a stage and a number that it has after each epoch: train_cvae.val_loss")
    direction: Literal["min", "max"]
    grace: int = Field(ge=1)
    factor: int = Field(default=3, ge=2)


class Sweep(_Strict):
    """A file in sweeps/.

    Attributes:
        recipe: of recipes/, what every trial sets.
        ladder: whether the rungs of recipes/ladder.yaml are tried.
        fixed: parameters that every trial sets, whatever the recipe or rung says.
        vary: parameter -> a list of its values, or a range.
        seeds: every setting is tried with each.
        search: grid: every combination. random: `trials` settings. tpe: `trials` settings, each chosen by
            what the trials before came to (Bergstra et al. 2011, "Algorithms for Hyper-Parameter
            Optimization"; Optuna).
        metric: of data/metrics/evaluate.json, such as cgan.frechet_distance, and its direction.
        at_once: trials at the same time.
        cpus, gpus: what a trial takes of a machine.
        stop: stops a trial that is worse than others after as many epochs.
    """

    recipe: str | None = Field(default=None, description="the name of a file in recipes/")
    ladder: bool = Field(default=False, description="true or false")
    fixed: dict[str, Any] = Field(default={}, description="parameters with their values")
    vary: dict[str, list[Any] | Range] = Field(
        default={}, description="parameters, each with a list of values or a range of low and high"
    )
    seeds: list[int] | None = Field(default=None, min_length=1, description="a list of whole numbers")
    search: Literal["grid", "random", "tpe"] = "grid"
    search_seed: int = Field(default=0, ge=0)
    trials: int | None = Field(default=None, ge=1, le=100_000, description="a whole number in [1, 100000]")
    metric: str = Field(description="a model and its metric, such as cgan.frechet_distance")
    direction: Literal["min", "max"]
    at_once: int = Field(default=1, ge=1)
    cpus: int = Field(default=2, ge=1)
    gpus: float = Field(default=0, ge=0, description="a number in [0, inf)")
    stop: Stop | None = Field(default=None, description="a section with number, direction, grace, factor")

    @model_validator(mode="after")
    def _fits(self) -> "Sweep":
        ranges = [name for name, choices in self.vary.items() if isinstance(choices, Range)]
        if self.search == "grid" and ranges:
            raise ValueError(f"vary.{ranges[0]} is a range, which needs search: random or tpe")
        if (self.search == "grid") == (self.trials is not None):
            raise ValueError(
                "trials must be left out with search: grid"
                if self.search == "grid"
                else f"trials is missing: search: {self.search} needs their number"
            )
        if self.search == "tpe" and (self.seeds is not None or self.ladder):
            raise ValueError("search: tpe needs one seed and no ladder: set fixed: {seed: 1}")
        twice = sorted({"seed"} & {*self.vary, *self.fixed}) if self.seeds is not None else []
        twice += sorted(set(self.vary) & set(self.fixed))
        if twice:
            raise ValueError(f"{twice[0]} is set twice")
        return self


def read(path: Path) -> Sweep:
    """Reads and checks a sweep. Raises UserError in one line before anything runs."""
    content = params.load(path)
    if isinstance(content.get("stop"), dict):
        content["stop"] = params.validate(Stop, content["stop"], f"{path}: stop")
    if isinstance(content.get("vary"), dict):
        content["vary"] = {
            name: _choices(found, f"{path}: vary.{name}") for name, found in content["vary"].items()
        }
    sweep: Sweep = params.validate(Sweep, content, path)
    if not NAME.fullmatch(path.stem):
        raise UserError(f"{path}: experiments get the file's name, so it must be letters, digits, - _ and .")
    always, ends = fixed(sweep, path), {name: _ends(choices) for name, choices in sweep.vary.items()}
    first = {name: values[0] for name, values in ends.items()}  # some parameters fit only some others
    for name, values in ends.items():
        for value in values:
            recipes.checked(always | first | {name: value}, str(path))
    number = sweep.stop.number if sweep.stop else None
    if number and number.partition(".")[0] not in (stages := pipeline.stages()):
        raise UserError(f"{path}: stop.number is {number}, but must begin with one of {', '.join(stages)}")
    if RESULTS.is_file():  # of the last run here, which has the names
        metric_of(json.loads(RESULTS.read_text(encoding="utf-8")), sweep.metric)
    return sweep


def _ends(choices: list[Any] | Range) -> list[Any]:
    """The values of a list, or the ends of a range."""
    if not isinstance(choices, Range):
        return choices
    return [int(end) if choices.whole else end for end in (choices.low, choices.high)]


def _choices(found: Any, source: str) -> list[Any] | Range:
    if isinstance(found, dict):
        return params.validate(Range, found, source)
    if not isinstance(found, list) or not found:
        raise UserError(f"{source} must be a list of one or more values, or a range with low and high")
    return found


def fixed(sweep: Sweep, path: Path) -> Values:
    """What every trial sets, besides what is varied. Raises UserError."""
    of_recipe = recipes.read(sweep.recipe) if sweep.recipe else {}
    return recipes.checked(of_recipe | ALWAYS | sweep.fixed, str(path))


def settings(sweep: Sweep, path: Path) -> list[Values]:
    """Each trial of a grid or random search, in order; two that are alike are one. Raises UserError."""
    noise = random.Random(sweep.search_seed)
    rungs = list(recipes.experiments(recipes.ladder()).values()) if sweep.ladder else [{}]
    seeds: list[Values] = [{"seed": seed} for seed in sweep.seeds] if sweep.seeds is not None else [{}]
    found, always, content = {}, fixed(sweep, path), params.load(params.PATH)
    for rung, varied, seed in itertools.product(rungs, list(_varied(sweep, noise)), seeds):
        values = always | rung | sweep.fixed | varied | seed
        found[digest(values)] = recipes.checked_in(content, values, str(path))
    return list(found.values())


def _varied(sweep: Sweep, noise: random.Random) -> Iterator[Values]:
    if sweep.search == "grid":
        lists = [choices for choices in sweep.vary.values() if not isinstance(choices, Range)]
        yield from (dict(zip(sweep.vary, each, strict=True)) for each in itertools.product(*lists))
        return
    for _ in range(sweep.trials or 0):
        yield {
            name: choices.draw(noise) if isinstance(choices, Range) else noise.choice(choices)
            for name, choices in sweep.vary.items()
        }


def listed(sweep: Sweep, path: Path) -> str:
    """The trials, a line each, or what they are drawn from."""
    if sweep.search == "tpe":
        lines = [f"{name}: {choices}" for name, choices in sweep.vary.items()]
        return "\n".join(
            [f"{sweep.trials} trials, each chosen by what the trials before came to, of", *lines]
        )
    found = settings(sweep, path)
    return "\n".join([*(f"{digest(v)}  {described(v, found)}" for v in found), f"{len(found)} trials"])


def digest(values: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits: the same for the same values, as which 1 and 1.0 count."""
    text = json.dumps({key: params.plain(value) for key, value in sorted(values.items())}, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def described(values: Mapping[str, Any], among: list[Values]) -> str:
    """The values that are not the same in all trials: "cgan.lr=0.0002 seed=1"."""
    shown = [key for key in values if any(other.get(key) != values[key] for other in among)]
    return " ".join(f"{key}={values[key]}" for key in shown) or "nothing is varied"


def metric_of(results: Mapping[str, Any], metric: str) -> float:
    """The metric of an evaluate.json. Raises Failed if it has no such number."""
    value = params.dotted(dict(results)).get(metric)
    if not isinstance(value, int | float) or isinstance(value, bool):
        every = params.dotted(dict(results))
        if every.get(metric, 0) is None:
            raise Failed(f"{metric} was not measured")
        numbers = [key for key, number in every.items() if isinstance(number, int | float)]
        raise Failed(f"metric is {metric}, but must be one of {', '.join(numbers)}")
    return float(value)
