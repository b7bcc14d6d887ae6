"""A trial as Ray Tune sees it. Only this module, `progress` and `search` need Ray."""

import time
from contextlib import suppress
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch

from condgen.base.errors import UserError
from condgen.sweeps import plan, search
from condgen.sweeps.plan import Failed
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
        except Failed as error:  # anything else is raised, and Ray tries again
            with suppress(UserError):  # now: after the last trial Ray waits only seconds for `cleanup`
                self.trial.stop("")
            return {"done": True, "failed": str(error)}
        return {"done": True, "metric": metric, "took": self.trial.took}

    def cleanup(self) -> None:
        """Ends a trial that is to be stopped early; does nothing after its end."""
        self.trial.stop(f"stopped early by the sweep {self.trial.home.sweep}: {getattr(self, 'last', '')}")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a stage has finished is in DVC's run cache."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see `save_checkpoint`."""


class Search(OptunaSearch):
    """Optuna hears of a trial's end only: its epochs have another number than its end."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing, see above."""
