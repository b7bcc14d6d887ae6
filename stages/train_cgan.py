"""Trains the CGAN: data/models/cgan and data/history/cgan.npz."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
from condgen import tracking
from condgen.base import files, params
from condgen.base.device import choose_device, machine
from condgen.datasets import data
from condgen.models import MODELS, cgan, split_state
from condgen.training import loop
from condgen.training.history import write_history
from condgen.training.state import summary


def main() -> None:
    p, split, seed = params.read(cgan.CGANParams), params.read(data.SplitParams), params.read_seed()
    device = choose_device(params.read_threads())
    with tracking.stage("train_cgan") as run:
        run.tags(machine(device))
        images = data.load("data/dataset.npz", split, device)
        run.dataset("data/dataset.npz", images.source, "training")

        of_stage = loop.Stage("train_cgan", "data/dataset.npz", split, seed)
        state, checkpoint = loop.run(cgan, p, images, of_stage, run)

        files.write_model("data/models/cgan", *split_state(state.trained, "cgan"))
        write_history("data/history/cgan.npz", images.spec, state.pictures[1:])
        files.write_csv("data/plots/cgan.csv", state.rows)
        files.write_json("data/metrics/train_cgan.json", summary(state, images.source))

        run.numbers({"cgan": {"train_seconds": state.seconds}}, parent=True)
        run.model("cgan", "data/models/cgan", MODELS["cgan"].about, images.spec.classes, images.spec.shape)
        run.artifacts("data/plots/cgan.csv", "data/metrics/train_cgan.json")
        checkpoint.remove()


if __name__ == "__main__":
    preflight.run(main)
