"""Measures both models against real images: data/metrics/evaluate.json and the page, data/report.html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
from condgen import tracking
from condgen.base import files, params
from condgen.base.device import choose_device, machine
from condgen.datasets import data
from condgen.evaluation import game, suite
from condgen.evaluation.params import EvaluateParams, RegistryParams
from condgen.models import MODELS, classifier, restore
from condgen.reporting import gallery, play, plots, report


def main() -> None:
    p, split = params.read(EvaluateParams), params.read(data.SplitParams)
    network, metric = params.read(classifier.ClassifierParams), params.read(RegistryParams).metric
    device = choose_device(params.read_threads())
    with tracking.stage("evaluate") as run:
        run.tags(machine(device))
        images = data.load("data/dataset.npz", split, device)
        if p.reference == "validation":
            images = images.for_tuning()
        run.dataset("data/dataset.npz", images.source, "evaluation")
        judge = restore(classifier, *files.read_model("data/models/classifier")).to(device)
        spec = images.spec
        drawn = {name: data.load_samples(f"data/samples/{name}.npz", spec, device) for name in MODELS}
        histories = {name: data.load_history(f"data/history/{name}.npz", spec, device) for name in MODELS}
        curves = {name: files.read_csv(f"data/plots/{name}.csv", *plots.CURVES[name]) for name in MODELS}
        judged = suite.read_accuracy("data/metrics/train_classifier.json", images.source)
        bounds = suite.read_bounds("data/metrics/train_cvae.json", images.source)
        latent = gallery.read_latent("data/samples/latent.npz", spec)
        published = report.read_published("data/published/best.json")
        shown = game.load("data/playground/game.npz", spec)
        played = play.load("data/playground", spec, shown, game.opinions(judge, shown, spec))
        costs = suite.read_costs("data/metrics/sample.json")

        measured = suite.measure_all(drawn, histories, images, judge, network, p.gan_train_epochs)
        results = suite.results(measured, images, p.reference, judged, bounds, costs)
        files.write_json("data/metrics/evaluate.json", results)
        files.write_json("data/metrics/summary.json", suite.summary(results))
        files.write_csv("data/plots/accuracy_by_class.csv", report.accuracy_rows(results))
        plots.evaluation("data/plots/evaluate", results, curves)
        pairs = suite.nearest_pairs(drawn, images)
        plots.nearest("data/plots/evaluate", pairs)
        pictures = gallery.build(spec, drawn | {"real": images.test}, histories, latent, pairs)
        report.html("data/report.html", results, pictures, curves, params.flat(), published, played)

        for parent in (False, True):
            run.numbers(suite.headline(results), parent=parent)
        run.numbers(suite.by_class(results))
        run.artifacts(
            "data/metrics/evaluate.json",
            "data/plots/accuracy_by_class.csv",
            "data/plots/evaluate",
            "data/report.html",
        )
        run.artifacts("data/report.html", "data/plots/sample/article_table.png", parent=True)
        drawn_in = {name: f"data/samples/{name}.npz" for name in MODELS}
        run.results(suite.summary(results), drawn_in, "data/dataset.npz", suite.reference(results))
        if p.reference == "test":  # numbers on validation images compare with no champion's
            run.candidates(
                suite.candidates(results, metric.key),
                metric.key,
                metric.better,
                drawn=drawn_in,
                judged_by=["data/dataset.npz", "data/models/classifier/model.safetensors"],
            )
        run.describe(report.markdown(results))


if __name__ == "__main__":
    preflight.run(main)
