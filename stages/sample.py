"""Draws from both models: data/samples, pictures in data/plots/sample and history, and what drawing costs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # the package of this checkout
from condgen import preflight

preflight.prepare()  # before PyTorch is imported
from condgen import tracking
from condgen.base import files, params
from condgen.base.device import choose_device, machine
from condgen.datasets import data
from condgen.models import MODELS
from condgen.reporting import plots
from condgen.sampling import cost, generator, latent


def main() -> None:
    p, seed = params.read(latent.SampleParams), params.read_seed()
    device = choose_device(params.read_threads())
    with tracking.stage("sample") as run:
        run.tags(machine(device))
        # Everything is read before anything is written: a damaged file leaves earlier samples untouched.
        generators = {name: generator.load(f"data/models/{name}", device, name) for name in MODELS}
        histories = {
            name: data.read_history(f"data/history/{name}.npz", model.spec)
            for name, model in generators.items()
        }

        for name, model in generators.items():
            samples = latent.sample(model, p.per_class, seed)
            files.write_npz(f"data/samples/{name}.npz", **samples)
            plots.samples("data/plots/sample", model.spec, name, samples)
            pictures = latent.pictures(model, p.manifold_steps, seed)
            plots.latent_space("data/plots/sample", model.spec, name, pictures)
            plots.history("data/plots/history", model.spec, name, histories[name][1])
        tables = {name: latent.table(p.table_epochs, *history) for name, history in histories.items()}
        plots.learning("data/plots/sample", generators["cvae"].spec, tables, histories)

        files.write_json(
            "data/metrics/sample.json", {n: cost.counts(model) for n, model in generators.items()}
        )

        # No file may hold a time: it would be another one in every run.
        run.numbers({name: cost.speed(model) for name, model in generators.items()}, parent=True)
        run.artifacts(
            "data/plots/sample",
            "data/samples/cvae.npz",
            "data/samples/cgan.npz",
            "data/metrics/sample.json",
        )


if __name__ == "__main__":
    preflight.run(main)
