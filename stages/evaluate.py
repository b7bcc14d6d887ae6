"""Measures both models against real digits: data/metrics/evaluate.json and data/report.html."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import classifier, data, evaluation, figures, files, metrics, params, report, tracking, training

PLOTS = "data/plots/evaluate"
SAMPLE = "data/plots/sample"
SAMPLES = "data/samples/%s.npz"
MODELS = ("cvae", "cgan")
YARDSTICK = ["data/mnist.npz", "data/models/classifier/model.safetensors"]
PICTURES = [
    (
        "The article's table",
        "Each digit early, later and late in training, from the same noise.",
        SAMPLE + "/article_table.png",
    ),
    (
        "How they learned",
        "The same noise after every epoch, five pictures of each digit.",
        SAMPLE + "/training.gif",
    ),
    ("CVAE: a row for each digit", "The first samples of the final model.", SAMPLE + "/cvae_classes.png"),
    ("CGAN: a row for each digit", "The first samples of the final model.", SAMPLE + "/cgan_classes.png"),
    (
        "Class accuracy by digit",
        "How often the classifier reads a sample as the digit that was asked for.",
        PLOTS + "/accuracy_by_digit.png",
    ),
    (
        "Different pictures of a digit",
        "The Vendi score in the classifier's features: how many different pictures the samples amount to. "
        "Wrong digits count as different.",
        PLOTS + "/vendi_by_digit.png",
    ),
    (
        "Asked for and drawn",
        "Of a hundred samples of a digit (row), how many are read as each digit (column).",
        PLOTS + "/confusion.png",
    ),
    (
        "CVAE: one noise, ten labels",
        "A row shares its noise, a column its label.",
        SAMPLE + "/cvae_same_noise.png",
    ),
    (
        "CGAN: one noise, ten labels",
        "A row shares its noise, a column its label.",
        SAMPLE + "/cgan_same_noise.png",
    ),
    ("CVAE: from one noise to another", "A row for each digit.", SAMPLE + "/cvae_interpolation.png"),
    ("CGAN: from one noise to another", "A row for each digit.", SAMPLE + "/cgan_interpolation.png"),
    (
        "The CVAE's latent space",
        "What each digit looks like over the two latent dimensions, at the quantiles of the prior.",
        SAMPLE + "/cvae_manifold.png",
    ),
    (
        "The CGAN's latent space",
        "What each digit looks like over the two latent dimensions, at the quantiles of the prior.",
        SAMPLE + "/cgan_manifold.png",
    ),
    (
        "CVAE: memorised?",
        "Samples, and below each the training image that is nearest in pixels.",
        PLOTS + "/cvae_nearest.png",
    ),
    (
        "CGAN: memorised?",
        "Samples, and below each the training image that is nearest in pixels.",
        PLOTS + "/cgan_nearest.png",
    ),
    ("Training", "Losses, and the discriminator's output, over epochs.", PLOTS + "/curves.png"),
]


def main():
    p, split = params.read(evaluation.EvaluateParams), params.read(data.SplitParams)
    network = params.read(classifier.ClassifierParams)
    device = training.choose_device(params.read_threads())
    with tracking.stage("evaluate") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "evaluation")
        model = training.restore(classifier.Classifier, *files.read_model("data/models/classifier")).to(
            device
        )
        sets = {name: data.load_samples(SAMPLES % name, device) for name in MODELS}
        sets["real"] = metrics.same_count_per_class(images.train, len(sets["cvae"]) // data.CLASSES)
        histories = {name: data.load_history("data/history/%s.npz" % name, device) for name in MODELS}
        curves = {name: files.read_csv("data/plots/%s.csv" % name, *figures.CURVES[name]) for name in MODELS}
        judge = evaluation.read_numbers(
            "data/metrics/train_classifier.json", images.source, ["test_accuracy"]
        )
        bounds = evaluation.read_numbers("data/metrics/train_cvae.json", images.source, evaluation.BOUND_KEYS)

        measured = {
            name: evaluation.measure(
                name, drawn, images, model, network, p.gan_train_epochs, histories.get(name)
            )
            for name, drawn in sets.items()
        }
        results = evaluation.results(measured, images, judge, bounds)
        files.write_json("data/metrics/evaluate.json", results)

        accuracy = {name: results[name]["class_accuracy_by_digit"] for name in sets}
        files.write_csv("data/plots/accuracy_by_digit.csv", report.accuracy_rows(accuracy))
        percent = {name: [100 * value for value in values] for name, values in accuracy.items()}
        figures.bars_by_class(PLOTS + "/accuracy_by_digit.png", percent, "read as that digit, %")
        vendi = {name: results[name]["vendi_features_by_digit"] for name in sets}
        figures.bars_by_class(PLOTS + "/vendi_by_digit.png", vendi, "effective images")
        figures.confusion(PLOTS + "/confusion.png", {name: results[name]["confusion"] for name in MODELS})
        figures.training_curves(PLOTS + "/curves.png", curves["cvae"], curves["cgan"])
        for name in MODELS:
            shown = metrics.same_count_per_class(sets[name], 2)
            rows, _ = metrics.nearest(shown.x, images.train.x)
            figures.pairs(
                "%s/%s_nearest.png" % (PLOTS, name),
                data.to_uint8(shown.x),
                data.to_uint8(images.train.x[rows]),
            )
        report.html("data/report.html", results, PICTURES)

        headline = evaluation.headline(results)
        run.numbers(headline)
        run.numbers({name: {"class_accuracy_by_digit": accuracy[name]} for name in sets})
        run.artifacts(
            "data/metrics/evaluate.json", "data/plots/accuracy_by_digit.csv", PLOTS, "data/report.html"
        )
        run.numbers(headline, parent=True)
        run.candidates(results, SAMPLES, judged_by=YARDSTICK)
        run.artifacts("data/report.html", "data/plots/sample/article_table.png", parent=True)
        run.describe(report.markdown(results))


if __name__ == "__main__":
    condgen.preflight.run(main)
