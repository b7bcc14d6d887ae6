"""What tracking and resuming cost a default training: each with and without, in turn, into overhead.json.

`make bench-overhead` runs it: 15 minutes, on a machine that does nothing else, with the data of the pipeline.

A machine's speed changes by more than is measured here: each run is compared with its neighbour in time.
"""

import argparse
import json
import os
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
from specs import DIGITS

Seconds = dict[str, list[float]]  # "without" and "with" -> one number a round


class Nobody:
    """Hears of epochs and keeps none."""

    def epoch(self, epoch, numbers, images=None) -> None:
        pass

    def save(self, state) -> None:
        pass


def tracked(folder: Path, rounds: int, epochs: int | None) -> tuple[Seconds, Seconds]:
    """The stage train_cvae with and without tracking: seconds to the end of its epochs, and of what follows.

    After its epochs the stage draws and measures, and waits for what MLflow does not have yet.
    """
    clone, outbox = Clone(ours.ROOT, folder), folder / "outbox"
    # The parameters as they are, not the clone's quick ones.
    for name in ("params.yaml", "data/dataset.npz"):
        shutil.copy2(ours.ROOT / name, folder / name)
    if epochs:
        params_yaml, section = folder / "params.yaml", re.compile(r"(^cvae:.*?^  epochs: )\d+", re.M | re.S)
        params_yaml.write_text(section.sub(rf"\g<1>{epochs}", params_yaml.read_text()))
    training, ending = {"without": [], "with": []}, {"without": [], "with": []}
    for _ in range(rounds):
        for which in training:
            if which == "without":
                outbox.touch()  # a file where tracking wants a folder: no journal, and so no courier
            start, last, end = _stage(clone)
            shutil.rmtree(outbox) if outbox.is_dir() else outbox.unlink()
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


def resumable(name: str, split: data.Split, folder: Path, rounds: int) -> Seconds:
    """Seconds of each epoch of a training, with its state kept (and the wait for the disk) and without it."""
    p, state, progress, epochs = ours.begin(name, split, epochs=2 * (rounds + 1))
    z, labels = fixed_noise(DIGITS, 0, p.latent_dim, split.train.x.device)
    kind = {"cvae": cvae, "cgan": cgan}[name]
    kept = Checkpoint(folder, name, {})
    keepers = {"without": Nobody(), "with": kept}
    seconds: Seconds = {"without": [], "with": []}
    for _ in range(rounds + 1):  # the first warms up
        for which, measured in seconds.items():
            start = time.perf_counter()
            record(
                islice(epochs, 1), state, progress, Nobody(), keepers[which],
                draw=lambda: DIGITS.to_uint8(kind.draw(state.trained, z, labels)),
            )  # fmt: skip
            kept.remove()  # waits for the disk
            measured.append(time.perf_counter() - start)
    return {which: measured[1:] for which, measured in seconds.items()}


def summary(seconds: Seconds) -> dict:
    """Medians over pairs of neighbours, and the pairs."""
    pairs = list(zip(seconds["without"], seconds["with"], strict=True))
    return {
        "percent": round(100 * (statistics.median(b / a for a, b in pairs) - 1), 2),
        "seconds": round(statistics.median(b - a for a, b in pairs), 3),
        "pairs_without_with": [[round(a, 3), round(b, 3)] for a, b in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the stage with and without tracking")
    parser.add_argument("--epochs", type=int, help="of the stage; default: as params.yaml has it")
    parser.add_argument("--resume-rounds", type=int, default=15, help="epochs with and without a checkpoint")
    parser.add_argument("--out", type=Path, default=HERE / "overhead.json")
    a = parser.parse_args()
    choose_device(params.read_threads(ours.PARAMS))
    split = ours.load()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            f"resume_{name}": summary(resumable(name, split, Path(folder), a.resume_rounds))
            for name in ("cvae", "cgan")
        }
        del split
        training, ending = tracked(Path(folder) / "clone", a.rounds, a.epochs)
    found |= {"tracking_epochs": summary(training), "tracking_after_epochs": summary(ending)}
    a.out.write_text(json.dumps(found | {"cores": os.cpu_count()}, indent=2) + "\n")
    for name, row in found.items():
        print(f"{name}: {row['percent']:+.1f} %, {row['seconds']:+.2f} s (medians of pairs)")
    print(a.out)


if __name__ == "__main__":
    main()
