"""Trains the yardstick on real images: data/models/classifier."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import classifier, data, files, params, tracking, training


def main():
    p, split = params.read(classifier.ClassifierParams), params.read(data.SplitParams)
    device = training.choose_device()
    with tracking.stage("train_classifier") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "training")
        model = classifier.build(p).to(device)
        progress = training.Progress("classifier", p.epochs)
        rows, _ = training.record(classifier.train(model, images, p, progress), progress, run)
        loss, accuracy = classifier.score(model, images.test)
        print("classifier  test accuracy %.2f %%" % (100 * accuracy), flush=True)

        numbers = training.summary(rows[-1], model, images.source)
        numbers.update(test_loss=loss, test_accuracy=accuracy)
        files.write_model(
            "data/models/classifier", model.state_dict(), dict(model.config, model="classifier")
        )
        files.write_csv("data/plots/classifier.csv", rows)
        files.write_json("data/metrics/train_classifier.json", numbers)

        run.numbers({"test_loss": loss, "test_accuracy": accuracy})
        run.artifacts(
            "data/models/classifier", "data/plots/classifier.csv", "data/metrics/train_classifier.json"
        )


if __name__ == "__main__":
    condgen.preflight.run(main)
