"""A trial as Ray Tune sees it. Only this module and `search` need Ray."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune

from condgen.base.errors import UserError
from condgen.sweeps import plan, search
from condgen.sweeps.trial import Home

POLL_SECONDS = 0.5


class Actor(tune.Trainable):
    """A trial in a process of Ray's: each step is an epoch of the stage that can be stopped, or the whole."""

    def setup(self, config: dict[str, Any], home: Home, sweep: plan.Sweep) -> None:  # type: ignore[override]
        """Starts the experiment."""
        self.sweep = sweep
        self.trial = search.begin(home, config["values"], self.logdir)
        self.epochs: list[tuple[int, float]] = []

    def step(self) -> dict[str, Any]:
        """Waits for an epoch, or for the end."""
        stop = self.sweep.stop
        while self.trial.running():
            if stop is not None:
                self.epochs += self.trial.epochs(stop.number)
                if self.epochs:
                    epoch, value = self.epochs.pop(0)
                    self.last = f"{stop.number} {value:.4g} after epoch {epoch}"
                    return {"epoch": epoch, "number": value}
            time.sleep(POLL_SECONDS)
        try:
            metric = plan.metric_of(self.trial.finish(), self.sweep.metric)
            return {"done": True, "metric": metric, "took": self.trial.took}
        except UserError as error:  # it would fail again
            return {"done": True, "failed": str(error)}

    def cleanup(self) -> None:
        """Ends a trial that is to be stopped early; does nothing after its end."""
        self.trial.stop(f"stopped early by the sweep {self.trial.home.sweep}: {getattr(self, 'last', '')}")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a stage has finished is in DVC's run cache."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see `save_checkpoint`."""


class Lines(tune.Callback):
    """Says a line for each trial that ends."""

    def __init__(self, say: Callable[[str], None], sweep: str, metric: str, total: int):
        self.say, self.sweep, self.metric, self.total, self.ended = say, sweep, metric, total, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        numbers, name = trial.last_result, search.name_of(self.sweep, trial.config["values"])
        self.ended += 1
        if "metric" in numbers:
            said = f"{self.metric} {numbers['metric']:.5g}"
        else:
            said = numbers.get("failed", "stopped early")
        self.say(f"{self.ended}/{self.total} {name}: {said}")
