"""Trains the yardstick on real images: data/models/classifier."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import classifier, data, files, params, pipeline, resume, tracking, training


def main():
    p, split = params.read(classifier.ClassifierParams), params.read(data.SplitParams)
    device = training.choose_device(params.read_threads())
    with tracking.stage("train_classifier") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "training")
        state = classifier.start(p, len(images.train), device)
        recipe = resume.recipe("train_classifier", "data/mnist.npz", training.machine(device), p, split)
        checkpoint = resume.Checkpoint(pipeline.root(), "train_classifier", recipe)
        checkpoint.restore(state)
        progress = training.Progress("classifier", p.epochs)
        epochs = classifier.train(state, images, p, progress)
        training.record(epochs, state, progress, run, checkpoint)
        loss, accuracy = classifier.score(state.model, images.test)
        print("classifier  test accuracy %.2f %%" % (100 * accuracy), flush=True)

        numbers = training.summary(state, images.source)
        numbers.update(test_loss=loss, test_accuracy=accuracy)
        files.write_model("data/models/classifier", *training.parts(state.model, "classifier"))
        files.write_csv("data/plots/classifier.csv", state.rows)
        files.write_json("data/metrics/train_classifier.json", numbers)

        run.numbers({"test_loss": loss, "test_accuracy": accuracy})
        run.artifacts(
            "data/models/classifier", "data/plots/classifier.csv", "data/metrics/train_classifier.json"
        )
        checkpoint.remove()


if __name__ == "__main__":
    condgen.preflight.run(main)
