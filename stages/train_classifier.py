"""Trains the classifier, which judges both models, on real images: data/models/classifier."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
from condgen import tracking
from condgen.base import files, params
from condgen.base.device import choose_device, machine
from condgen.datasets import data
from condgen.models import classifier, split_state
from condgen.training import loop
from condgen.training.state import summary


def main() -> None:
    p, split = params.read(classifier.ClassifierParams), params.read(data.SplitParams)
    device = choose_device(params.read_threads())
    with tracking.stage("train_classifier") as run:
        run.tags(machine(device))
        images = data.load("data/dataset.npz", split, device)
        run.dataset("data/dataset.npz", images.source, "training")

        of_stage = loop.Stage("train_classifier", "data/dataset.npz", split, p.seed)
        state, checkpoint = loop.run(classifier, p, images, of_stage, run, draws=False)
        loss, accuracy = classifier.score(state.trained, images.test)
        print(f"classifier  test accuracy {100 * accuracy:.2f} %", flush=True)

        numbers = summary(state, images.source) | {"test_loss": loss, "test_accuracy": accuracy}
        files.write_model("data/models/classifier", *split_state(state.trained, "classifier"))
        files.write_csv("data/plots/classifier.csv", state.rows)
        files.write_json("data/metrics/train_classifier.json", numbers)

        run.numbers({"test_loss": loss, "test_accuracy": accuracy})
        run.artifacts(
            "data/models/classifier", "data/plots/classifier.csv", "data/metrics/train_classifier.json"
        )
        checkpoint.remove()


if __name__ == "__main__":
    preflight.run(main)
