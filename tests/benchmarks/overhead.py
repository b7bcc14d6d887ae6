"""What tracking and resuming cost a default training: each with and without, in turn. About 11 minutes, on a
machine that does nothing else; `make bench-overhead` prints it. Needs the data set of the pipeline.
"""

import re
import resource
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

from condgen import cgan, cvae, data, params, resume, training

ROUNDS = 3
EPOCHS = 5  # at a time, between two looks at the clock


def tracked(folder: Path) -> dict[str, list[float]]:
    """Seconds of the stage train_cvae from its first finished epoch to its end, with and without tracking."""
    clone = Clone(ours.ROOT, folder)
    # The parameters as they are, not the clone's quick ones.
    for name in ("params.yaml", "data/mnist.npz"):
        shutil.copy2(ours.ROOT / name, folder / name)
    outbox = folder / "outbox"
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for which, measured in seconds.items():
            shutil.rmtree(outbox) if outbox.is_dir() else outbox.unlink(missing_ok=True)
            if which == "without":
                outbox.write_text("A file where tracking wants a folder: nothing is tracked.\n")
            measured.append(_after_the_first_epoch(clone))
    return seconds


def start_up() -> float:
    """Seconds of processor that the courier takes before it delivers anything: importing MLflow, mostly."""
    wanted = "import condgen.tracking.delivery, mlflow.store.tracking.sqlalchemy_store"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", wanted], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _after_the_first_epoch(clone: Clone) -> float:
    first = None
    with subprocess.Popen(
        [sys.executable, "stages/train_cvae.py"], cwd=clone.path, env=clone.env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if first is None and re.match(r"cvae 1/", line):
                first = time.perf_counter()
    if process.returncode or first is None:
        raise SystemExit(f"the stage failed in {clone.path}")
    return time.perf_counter() - first


class Nobody:
    """Hears of epochs and keeps none."""

    def epoch(self, epoch, numbers, images=None) -> None:
        pass

    def save(self, state) -> None:
        pass


def resumable(name: str, split: data.Split, folder: Path) -> dict[str, list[float]]:
    """Seconds of EPOCHS epochs of a training, with and without its state kept after each."""
    p, state, progress, epochs = ours.begin(name, split, epochs=2 * EPOCHS * (ROUNDS + 1))
    z, labels = training.fixed_noise(0, p.latent_dim, split.train.x.device)
    draw = {"cvae": cvae, "cgan": cgan}[name].draw
    checkpoint = resume.Checkpoint(folder, name, {})
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS + 1):  # the first warms up
        for which, measured in seconds.items():
            start = time.perf_counter()
            training.record(
                islice(epochs, EPOCHS), state, progress, Nobody(),
                checkpoint if which == "with" else Nobody(),
                draw=lambda: data.to_uint8(draw(state.model, z, labels)),
            )  # fmt: skip
            checkpoint.remove()  # waits for the disk
            measured.append(time.perf_counter() - start)
    return {which: measured[1:] for which, measured in seconds.items()}


def show(what: str, seconds: dict[str, list[float]]) -> None:
    without, with_it = (statistics.median(seconds[which]) for which in ("without", "with"))
    each = "; ".join(f"{which} " + " ".join(f"{s:.2f}" for s in took) for which, took in seconds.items())
    print(f"{what}: {100 * (with_it / without - 1):+.1f} % (medians; seconds {each})", flush=True)


def main() -> None:
    training.choose_device(params.read_threads(ours.PARAMS))
    split = ours.load()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cvae", "cgan"):
            show(f"resuming, {name}", resumable(name, split, Path(folder)))
        del split
        seconds = tracked(Path(folder) / "clone")
    show("tracking, stage train_cvae after its first epoch", seconds)
    start = statistics.median(start_up() for _ in range(ROUNDS))
    # Its start is not over with the first epoch: the courier only gets what training leaves.
    seconds["with"] = [each - start for each in seconds["with"]]
    show(f"the same without the {start:.1f} s of the courier's start", seconds)


if __name__ == "__main__":
    main()
