"""Trains the CVAE: data/models/cvae and data/history/cvae.npz."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
from condgen import tracking
from condgen.base import files, intervals, params
from condgen.base.device import choose_device, machine
from condgen.datasets import data
from condgen.models import MODELS, cvae, split_state
from condgen.training import loop
from condgen.training.history import write_history
from condgen.training.state import summary


def main() -> None:
    p, split, seed = params.read(cvae.CVAEParams), params.read(data.SplitParams), params.read_seed()
    device = choose_device(params.read_threads())
    with tracking.stage("train_cvae") as run:
        run.tags(machine(device))
        images = data.load("data/dataset.npz", split, device)
        run.dataset("data/dataset.npz", images.source, "training")

        of_stage = loop.Stage("train_cvae", "data/dataset.npz", split, seed)
        state, checkpoint = loop.run(cvae, p, images, of_stage, run)
        elbo, bound = cvae.likelihood_bounds(state.trained, images.test, seed)

        numbers = summary(state, images.source)
        numbers |= intervals.named("test_elbo", elbo) | intervals.named("test_iwae_bound", bound)
        numbers["test_elbo_bits"] = cvae.bits_per_dimension(-numbers["test_elbo"], images.spec)
        files.write_model("data/models/cvae", *split_state(state.trained, "cvae"))
        # While the prior learns alone the pictures change little: stability is measured without them.
        write_history("data/history/cvae.npz", images.spec, state.pictures[1 : p.epochs + 1])
        files.write_csv("data/plots/cvae.csv", state.rows)
        files.write_json("data/metrics/train_cvae.json", numbers)

        run.numbers({key: numbers[key] for key in ("test_elbo", "test_elbo_bits", "test_iwae_bound")})
        run.numbers({"cvae": {"train_seconds": state.seconds}}, parent=True)
        run.model("cvae", "data/models/cvae", MODELS["cvae"].about, images.spec.classes, images.spec.shape)
        run.artifacts("data/plots/cvae.csv", "data/metrics/train_cvae.json")
        checkpoint.remove()


if __name__ == "__main__":
    preflight.run(main)
