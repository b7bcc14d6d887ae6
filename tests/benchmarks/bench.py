"""`make bench`: training speed against the usual PyTorch loop and the matmul limit, and the overhead of the
pipeline around training. A report, not a test: prints it and writes latest.json beside this file.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(HERE.parent)]
from condgen import preflight
from specs import DIGITS

preflight.prepare()  # as a stage does, before PyTorch is imported; the usual loop shares this process

import numpy as np
import ours
import products
import psutil
import torch
import usual

from clone import Clone
from condgen.base import params
from condgen.base.device import choose_device
from condgen.datasets import data
from condgen.sampling import drawing

LATEST = HERE / "latest.json"
LOOPS = {"cvae": usual.CVAE, "cgan": usual.CGAN, "classifier": usual.Classifier}
STEPS = {True: 20, False: 500}  # timed of the matrix products; of the best recipe's networks fewer
WAITING_SECONDS = 4  # of training, for each wait policy
ONE_EPOCH = {"classifier.epochs": 1, "cvae.epochs": 1, "cgan.epochs": 1, "per_class": 1000}


class Ours:
    """A training of this project; epoch() trains one epoch and returns its seconds."""

    def __init__(self, name: str, split: data.Split):
        self.name, self.split = name, split
        self.p, self.state, self.progress, self.epochs = ours.begin(name, split, epochs=1000)

    def epoch(self) -> float:
        next(self.epochs)
        return len(self.split.train) / self.progress.images_per_second

    def step(self) -> None:
        """One step on one batch, to record its matrix products."""
        b, train = self.p.batch_size, self.split.train
        kind, state = ours.kind(self.name), self.state
        kind.train_step(state.model, state.optimizers, train.x[:b], train.y[:b], torch.Generator(), self.p)


def machine() -> dict:
    names = [platform.processor() or platform.machine()]
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) or names
    except OSError:
        pass
    return {
        "processor": names[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": params.read_threads(ours.PARAMS),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
    }


def speed(name: str, split: data.Split, folder: Path, rounds: int) -> dict:
    """Images per second of the usual loop and of ours, measured in turn, and the matmul limit."""
    p, split = ours.parameters(name), ours.images(name, split)
    plain = LOOPS[p.section](p, folder, len(split.validation), len(split.train))
    contenders = {"usual": plain, "ours": Ours(name, split)}
    seconds: dict[str, list[float]] = {"usual": [], "ours": []}
    for _ in range(rounds + 1):  # the first epoch of each warms up
        for who, contender in contenders.items():
            seconds[who].append(contender.epoch())
    alone, operations = products.measure(contenders["ours"].step, rounds, STEPS[name.endswith(ours.BEST)])
    images = len(split.train)
    rate = {who: images / statistics.median(times[1:]) for who, times in seconds.items()}
    limit = p.batch_size / alone
    return {
        "usual_images_per_second": rate["usual"],
        "images_per_second": rate["ours"],
        "ratio": rate["ours"] / rate["usual"],
        "sgemm_gflops": operations / alone / 1e9,
        "sgemm_images_per_second": limit,
        "fraction_of_sgemm": rate["ours"] / limit,
        "usual_epoch_seconds": seconds["usual"],
        "epoch_seconds": seconds["ours"],
    }


def waiting(rounds: int) -> dict:
    """Images per second of the CGAN's step by OpenMP wait policy, alone and beside two busy processes."""
    ways: dict[str, dict[str, str]] = {"default": {}, "condgen": preflight.WAITING}
    clean = {k: v for k, v in os.environ.items() if k not in preflight.WAITING}
    found: dict[str, dict[str, list[float]]] = {"alone": {}, "busy": {}}
    for place, rates in found.items():
        others = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (place == "busy"))
        ]
        try:
            for _ in range(rounds):
                for way, environment in ways.items():
                    words = [sys.executable, str(HERE / "waiting.py"), str(WAITING_SECONDS)]
                    done = subprocess.run(
                        words, env=clean | environment, capture_output=True, text=True, check=True
                    )
                    rates.setdefault(way, []).append(float(done.stdout))
        finally:
            for other in others:
                other.kill()
                other.wait()
    return {place: {way: statistics.median(r) for way, r in rates.items()} for place, rates in found.items()}


def around(folder: Path) -> dict:
    """A `dvc repro` with one epoch per model: each stage's seconds outside its MLflow run, peak memory, and
    the time of `dvc repro` with nothing to do and of `dvc status`."""
    source = "mirrors" if os.environ.get("MNIST_MIRROR") else "bundled"
    clone = Clone(ROOT, folder, source=source, **{key.replace(".", "__"): v for key, v in ONE_EPOCH.items()})
    if source == "mirrors":
        mirror = Path(os.environ["MNIST_MIRROR"])
        clone.env["MNIST_MIRROR"] = str(mirror.resolve() if mirror.is_dir() else mirror)
    peaks, done = {}, threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if len(words) > 1 and (stage := re.fullmatch(r"stages/(\w+)\.py", words[1])):
                    try:
                        rss = process.memory_info().rss / 1e6
                        peaks[stage[1]] = max(peaks.get(stage[1], 0), rss)
                    except psutil.Error:
                        pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, begun, at = time.time(), [], 0.0
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=clone.path,
        env=clone.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            at = time.time()
            if stage := re.match(r"Running stage '(\w+)'", line):
                begun.append((stage[1], at))
    done.set()
    watcher.join()
    ended = time.time()
    if process.returncode:
        raise SystemExit("dvc repro failed in " + str(clone.path))
    ((_, children),) = clone.runs().values()
    outside = {}
    for (stage, start), (_, until) in zip(begun, [*begun[1:], ("", ended)], strict=True):
        info = children[stage].info
        outside[stage] = until - start - (info.end_time - info.start_time) / 1000
    idle: dict[str, list[float]] = {"status": [], "repro": []}
    for _ in range(6):
        for command in idle:
            start = time.perf_counter()
            clone.run("dvc", command)
            idle[command].append(time.perf_counter() - start)
    status, repro = (statistics.median(times[1:]) for times in idle.values())
    return {
        "images": "MNIST" if source == "mirrors" else "bundled digits",
        "seconds_outside": outside | {"before_the_first": begun[0][1] - started},
        "stage_peak_mb": peaks,
        "dvc_status_seconds": status,
        "dvc_repro_nothing_to_do_seconds": repro,
        "ratio_to_status": repro / status,
    }


def report(results: dict) -> str:
    lines = [
        "images per second, medians:",
        f"{'':20}{'usual':>10}{'ours':>10}{'ratio':>8}{'matmul limit':>14}{'% of limit':>12}",
    ]
    for name in ours.NAMES:
        r = results["training"][name]
        lines.append(
            f"{name:20}{r['usual_images_per_second']:10,.0f}{r['images_per_second']:10,.0f}{r['ratio']:8.2f}"
            f"{r['sgemm_gflops']:9,.0f} GF/s{100 * r['fraction_of_sgemm']:12.0f}"
        )
    lines.append("memory of training, MB (after the second epoch, after the last, peak):")
    for name in ours.NAMES:
        m = results["memory"][name]
        after = m["after_epoch_mb"]
        lines.append(f"{name:20}{after[1]:10,.0f}{after[-1]:10,.0f}{m['peak_mb']:10,.0f}")
    lines.append("CGAN step, images per second, by OpenMP wait policy:")
    for place, rates in results["waiting"].items():
        lines.append(f"{place:12}" + "".join(f"{way:>12} {rate:8,.0f}" for way, rate in rates.items()))
    a = results["around"]
    lines.append(f"seconds of each stage outside its MLflow run ({a['images']}):")
    lines += [f"{name:18}{value:6.1f}" for name, value in a["seconds_outside"].items()]
    lines.append(f"{'sum':18}{sum(a['seconds_outside'].values()):6.1f}")
    lines.append(
        "peak memory of each stage, MB: " + ", ".join(f"{k} {v:,.0f}" for k, v in a["stage_peak_mb"].items())
    )
    lines.append(
        f"dvc repro with nothing to do {a['dvc_repro_nothing_to_do_seconds']:.2f} s, "
        f"dvc status {a['dvc_status_seconds']:.2f} s: {a['ratio_to_status']:.2f} times"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="epochs to measure of each loop, in turn")
    options = parser.parse_args()
    # Both loops use our settings: a process has one OpenMP pool and one heap, and running threads keep their
    # denormal mode. So the usual loop is measured without these slowdowns.
    choose_device(params.read_threads(ours.PARAMS))
    split = ours.load()
    results = {
        "machine": machine(),
        "data": split.source,
        "rounds": options.rounds,
        "training": {},
        "memory": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, sets in {"train": (split.validation, split.train), "t10k": (split.test,)}.items():
            labels = torch.cat([images.y for images in sets]).numpy().astype(np.uint8)
            pixels = DIGITS.to_uint8(torch.cat([images.x for images in sets]))
            drawing.write_idx(raw / f"{part}-images-idx3-ubyte", pixels)
            drawing.write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
        for name in ours.NAMES:
            results["training"][name] = speed(name, split, Path(folder), options.rounds)
        del split
        for name in ours.NAMES:
            done = subprocess.run(
                [sys.executable, str(HERE / "memory.py"), name], capture_output=True, text=True, check=True
            )
            results["memory"][name] = json.loads(done.stdout.splitlines()[-1])
        results["waiting"] = waiting(options.rounds)
        results["around"] = around(Path(folder) / "clone")
    LATEST.write_text(json.dumps(results, indent=2) + "\n")
    print(report(results))


if __name__ == "__main__":
    main()
