"""Gets the data set: data/mnist.npz."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import download, files, params, pipeline, tracking


def main():
    p = params.read(download.DataParams)
    with tracking.stage("download") as run:
        arrays = download.get(p, pipeline.root(), os.environ.get("MNIST_MIRROR"))
        files.write_npz("data/mnist.npz", **arrays)
        numbers = download.summary(arrays)
        files.write_json("data/metrics/download.json", numbers)

        run.numbers(numbers)
        run.dataset("data/mnist.npz", numbers["data"], "download")
        run.artifacts("data/mnist.npz", "data/metrics/download.json")


if __name__ == "__main__":
    condgen.preflight.run(main)
