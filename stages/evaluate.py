"""Measures both models against real digits: data/metrics/evaluate.json and data/report.html."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import classifier, data, figures, files, metrics, params, report, tracking, training

PLOTS = "data/plots/evaluate"
PICTURES = [
    (
        "The article's table",
        "Each digit at three epochs, from the same noise after every epoch.",
        "data/plots/sample/article_table.png",
    ),
    (
        "How they learned",
        "The same noise after every epoch, five pictures of each digit.",
        "data/plots/sample/training.gif",
    ),
    (
        "CVAE, a row for each digit",
        "The first samples of the final model.",
        "data/plots/sample/cvae_classes.png",
    ),
    (
        "CGAN, a row for each digit",
        "The first samples of the final model.",
        "data/plots/sample/cgan_classes.png",
    ),
    (
        "The CVAE's latent space",
        "What each digit looks like over the two latent dimensions, at the quantiles of the prior.",
        "data/plots/sample/cvae_manifold.png",
    ),
    (
        "Class accuracy by digit",
        "How often the classifier reads a sample as the digit that was asked for.",
        PLOTS + "/accuracy_by_digit.png",
    ),
    ("Training", "Losses, and the discriminator's output, over epochs.", PLOTS + "/curves.png"),
]


def main():
    split = params.read(data.SplitParams)
    device = training.choose_device()
    reads = ["data/mnist.npz", "data/models/classifier", "data/samples/cvae.npz", "data/samples/cgan.npz"]
    writes = ["data/metrics/evaluate.json", "data/plots/accuracy_by_digit.csv", PLOTS, "data/report.html"]
    with tracking.stage("evaluate", ["split"], reads, writes) as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "evaluation")
        model = training.restore(classifier.Classifier, *files.read_model("data/models/classifier")).to(
            device
        )
        sets = {name: data.load_samples("data/samples/%s.npz" % name, device) for name in ("cvae", "cgan")}
        sets["real"] = metrics.same_count_per_class(images.train, len(sets["cvae"]) // data.CLASSES)

        reference, _ = classifier.read(model, images.test.x)
        yardstick = files.read_json("data/metrics/train_classifier.json")
        results = {
            "data": images.source,
            "reference_images": len(images.test),
            "classifier": {"test_accuracy": yardstick["test_accuracy"]},
        }
        for name, drawn in sets.items():
            results[name] = metrics.compare(*classifier.read(model, drawn.x), drawn.y, reference)
        files.write_json("data/metrics/evaluate.json", results)

        accuracy = {name: results[name]["class_accuracy_by_digit"] for name in sets}
        curves = {name: files.read_csv("data/plots/%s.csv" % name) for name in ("cvae", "cgan")}
        files.write_csv("data/plots/accuracy_by_digit.csv", report.accuracy_rows(accuracy))
        figures.accuracy_by_class(PLOTS + "/accuracy_by_digit.png", accuracy)
        figures.training_curves(PLOTS + "/curves.png", curves["cvae"], curves["cgan"])
        report.html("data/report.html", results, PICTURES)

        run.numbers(results)
        run.artifacts(*writes)
        run.numbers({name: metrics.headline(results[name]) for name in sets}, parent=True)
        run.describe(report.markdown(results))
        run.artifacts("data/report.html", "data/plots/sample/article_table.png", parent=True)


if __name__ == "__main__":
    condgen.preflight.run(main)
