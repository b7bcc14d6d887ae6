"""The lines and the table of a sweep that runs."""

import io
import types

import pytest
from rich.console import Console

from condgen.sweeps import plan, search
from condgen.sweeps.progress import Progress

METRIC = {"metric": "cgan.recall", "direction": "max"}


def ray_trial(status: str, seed: int, **result: object) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        trial_id=str(seed),
        status=status,
        is_finished=lambda: status in ("TERMINATED", "ERROR"),
        config={"values": {"seed": seed, "cgan.lr": 0.0002}},
        last_result=result,
    )


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def progress(said) -> Progress:
    of = plan.Sweep(
        vary={},
        seeds=[*range(4)],
        stop={"number": "train_cgan.d_loss", "direction": "min", "grace": 1},
        **METRIC,
    )
    settings = [{"seed": seed, "cgan.lr": 0.0002} for seed in range(4)]
    return Progress(said.append, of, "try", settings)


def shown(progress: Progress) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=110).print(progress.table())
    return out.getvalue().splitlines()


def test_a_resumed_sweep_counts_the_trials_that_ended_before(progress, said):
    before, ends = ray_trial("TERMINATED", 0, metric=1.0), ray_trial("RUNNING", 1, metric=2.0)
    dies, waits = ray_trial("RUNNING", 2), ray_trial("PENDING", 3)
    progress.on_trial_complete(0, [before, ends, dies, waits], ends)
    ends = ray_trial("TERMINATED", 1, metric=2.0)
    progress.on_trial_error(0, [before, ends, dies, waits], dies)
    one, two = (search.name_of("try", trial.config["values"]) for trial in (ends, dies))
    assert said == [
        f"2/4 {one}: cgan.recall 2",
        f"3/4 {two}: failed: its machine or its process died each time",
    ]


def test_a_trial_that_failed_or_was_stopped_says_so(progress, said):
    stopped, failed = ray_trial("RUNNING", 0, epoch=2, number=1.5), ray_trial("RUNNING", 1, failed="diverged")
    progress.on_trial_complete(0, [stopped], stopped)
    progress.on_trial_complete(0, [failed], failed)
    assert [line.partition(": ")[2] for line in said] == ["stopped early", "diverged"]


def test_the_table_shows_what_runs_its_last_number_and_the_best_so_far(progress):
    trials = [
        ray_trial("TERMINATED", 0, metric=0.25),
        ray_trial("TERMINATED", 1, metric=0.75),
        ray_trial("RUNNING", 2, epoch=7, number=1.25),
        ray_trial("PENDING", 3),
    ]
    progress.on_trial_start(0, trials, trials[2])
    progress.on_step_begin(0, trials)
    head, running, below = shown(progress)
    assert "train_cgan.d_loss" in head
    name, took, *rest = running.split()
    assert (name, " ".join(rest)) == (
        search.name_of("try", {"seed": 2, "cgan.lr": 0.0002}),
        "1.25 after epoch 7 seed=2",
    )
    assert took.startswith("0:00:0")
    best = search.name_of("try", {"seed": 1, "cgan.lr": 0.0002})
    assert below.strip() == f"2/4 ended; the best so far: {best}, cgan.recall 0.75"


def test_there_is_no_table_where_the_output_is_no_terminal(progress, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    progress.setup()
    assert progress.live is None
    progress.on_experiment_end([])
