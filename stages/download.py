"""Gets the data set: data/dataset.npz."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
import os

from condgen import tracking
from condgen.base import files, params, pipeline
from condgen.datasets import download, sets


def main() -> None:
    p = params.read(download.DataParams)
    with tracking.stage("download") as run:
        arrays = sets.get(p, pipeline.root(), os.environ.get("MNIST_MIRROR"))
        files.write_npz("data/dataset.npz", **arrays)
        numbers = download.summary(arrays)
        files.write_json("data/metrics/download.json", numbers)

        run.numbers(numbers)
        run.dataset("data/dataset.npz", numbers["data"], "download")
        run.artifacts("data/dataset.npz", "data/metrics/download.json")


if __name__ == "__main__":
    preflight.run(main)
