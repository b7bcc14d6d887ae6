"""What a sweep shows: a line for each trial that ends, and on a terminal a table of those that run."""

import atexit
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ray import tune
from rich.console import Group
from rich.live import Live
from rich.table import Table

from condgen.sweeps import plan, search


class Progress(tune.Callback):
    """Ray tells it what happens to trials. Ray stores it, and a resumed sweep uses the stored one.

    say: gets the lines. On a terminal they scroll above the table.
    """

    def __init__(self, say: Callable[[str], None], of: plan.Sweep, sweep: str, settings: list[plan.Values]):
        """sweep: its name. settings: of all trials; empty for a search, which chooses them as it goes."""
        self.say, self.of, self.sweep, self.settings = say, of, sweep, settings
        self.total = len(settings) or of.trials
        self.began: dict[str, float] = {}
        self.trials: list[Any] = []
        self.live: Live | None = None

    def setup(self, *stop: Any, **info: Any) -> None:
        """Starts the table, on a terminal."""
        if sys.stdout.isatty():
            self.live = Live(get_renderable=self.table, refresh_per_second=1, transient=True)
            self.live.start()
            atexit.register(self.live.stop)  # it hides the cursor

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        if self.live is not None:
            self.live.stop()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.trials = trials

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began[trial.trial_id] = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        numbers = trial.last_result
        if "metric" in numbers:
            self._line(trials, trial, f"{self.of.metric} {numbers['metric']:.5g}")
        else:
            self._line(trials, trial, numbers.get("failed", "stopped early"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._line(trials, trial, "failed: its machine or its process died each time")

    def _line(self, trials: list[Any], trial: Any, said: str) -> None:
        ended = 1 + sum(other.is_finished() for other in trials if other is not trial)
        self.say(f"{ended}/{self.total} {self._name(trial)}: {said}")

    def _name(self, trial: Any) -> str:
        return search.name_of(self.sweep, trial.config["values"])

    def table(self) -> Group:
        """The trials that run, for how long, their last number, what was set; below, how far the sweep is."""
        trials = list(self.trials)
        every = self.settings or [trial.config["values"] for trial in trials]
        number = self.of.stop.number if self.of.stop else ""
        shown = Table("runs", "for", *([number] if number else []), box=None)
        shown.add_column("what was set", no_wrap=True)
        for trial in trials:
            if trial.status != "RUNNING":
                continue
            last, began = trial.last_result, self.began.get(trial.trial_id, time.monotonic())
            at = f"{last['number']:.4g} after epoch {last['epoch']}" if "number" in last else ""
            took = str(timedelta(seconds=int(time.monotonic() - began)))
            values = plan.described(trial.config["values"], every)
            shown.add_row(self._name(trial), took, *([at] if number else []), values)
        ended = [trial for trial in trials if trial.is_finished()]
        measured = [trial for trial in ended if "metric" in trial.last_result]
        far = f"{len(ended)}/{self.total} ended"
        if measured:
            best = (min if self.of.direction == "min" else max)(
                measured, key=lambda trial: trial.last_result["metric"]
            )
            metric = f"{self.of.metric} {best.last_result['metric']:.5g}"
            far += f"; the best so far: {self._name(best)}, {metric}"
        return Group(shown, far)
