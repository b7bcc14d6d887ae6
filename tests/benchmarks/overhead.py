"""What tracking and resuming cost a default training: each with and without, in turn. About 15 minutes, on a
machine that does nothing else; `make bench-overhead` prints it. Needs the data set of the pipeline.

A machine's speed comes and goes by more than is measured here: each is compared with its neighbour in time.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

import ours

from clone import Clone
from condgen.base import params
from condgen.base.device import choose_device
from condgen.datasets import data
from condgen.models import cgan, cvae
from condgen.training.checkpoint import Checkpoint
from condgen.training.history import fixed_noise
from condgen.training.loop import record

ROUNDS = 5  # of a whole training
EPOCHS = 15  # of one that keeps its state, and as many of the same that does not


def tracked(folder: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of the stage train_cvae with and without tracking: to the end of its epochs, and what follows.

    Then the stage draws and measures, and what MLflow does not have yet is delivered while the stage waits.
    """
    clone = Clone(ours.ROOT, folder)
    # The parameters as they are, not the clone's quick ones.
    for name in ("params.yaml", "data/dataset.npz"):
        shutil.copy2(ours.ROOT / name, folder / name)
    outbox = folder / "outbox"
    training: dict[str, list[float]] = {"without": [], "with": []}
    ending: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for which in training:
            shutil.rmtree(outbox) if outbox.is_dir() else outbox.unlink(missing_ok=True)
            if which == "without":
                outbox.write_text("A file where tracking wants a folder: nothing is tracked.\n")
            start, last, end = _stage(clone)
            training[which].append(last - start)
            ending[which].append(end - last)
    return training, ending


def _stage(clone: Clone) -> tuple[float, float, float]:
    """When the stage began, when its last epoch was over, and when the stage was."""
    start, last = time.perf_counter(), None
    with subprocess.Popen(
        [sys.executable, "stages/train_cvae.py"], cwd=clone.path, env=clone.env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if re.match(r"cvae \d+/", line):
                last = time.perf_counter()
    if process.returncode or last is None:
        raise SystemExit(f"the stage failed in {clone.path}")
    return start, last, time.perf_counter()


class Nobody:
    """Hears of epochs and keeps none."""

    def epoch(self, epoch, numbers, images=None) -> None:
        pass

    def save(self, state) -> None:
        pass


def resumable(name: str, split: data.Split, folder: Path) -> dict[str, list[float]]:
    """Seconds of each epoch of a training, with its state kept (and the wait for the disk) and without it."""
    p, state, progress, epochs = ours.begin(name, split, epochs=2 * (EPOCHS + 1))
    z, labels = fixed_noise(0, p.latent_dim, split.train.x.device)
    draw = {"cvae": cvae, "cgan": cgan}[name].draw
    kept = Checkpoint(folder, name, {})
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(EPOCHS + 1):  # the first warms up
        for which, measured in seconds.items():
            start = time.perf_counter()
            record(
                islice(epochs, 1), state, progress, Nobody(),
                kept if which == "with" else Nobody(),
                draw=lambda: data.to_uint8(draw(state.model, z, labels)),
            )  # fmt: skip
            kept.remove()
            measured.append(time.perf_counter() - start)
    return {which: measured[1:] for which, measured in seconds.items()}


def show(what: str, seconds: dict[str, list[float]]) -> None:
    pairs = list(zip(seconds["without"], seconds["with"], strict=True))
    more = statistics.median(b - a for a, b in pairs)
    times = statistics.median(b / a for a, b in pairs)
    each = "; ".join(f"{which} " + " ".join(f"{s:.2f}" for s in took) for which, took in seconds.items())
    print(f"{what}: {100 * (times - 1):+.1f} %, {more:+.2f} s (medians of pairs; seconds {each})", flush=True)


def main() -> None:
    choose_device(params.read_threads(ours.PARAMS))
    split = ours.load()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cvae", "cgan"):
            show(f"resuming, {name}", resumable(name, split, Path(folder)))
        del split
        epochs, ending = tracked(Path(folder) / "clone")
    show("tracking, train_cvae to the end of its epochs", epochs)
    show("tracking, what follows them", ending)


if __name__ == "__main__":
    main()
