"""Draws from both models: data/samples, pictures in data/plots/sample and history, and what drawing costs.

data/playground holds what the page needs: both models as programs, and the pictures of its game.
"""

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
from condgen.sampling import cost, game, generator, latent, program


def main() -> None:
    p, seed = params.read(latent.SampleParams), params.read_seed()
    split = params.read(data.SplitParams)
    device = choose_device(params.read_threads())
    with tracking.stage("sample") as run:
        run.tags(machine(device))
        # Everything is read before anything is written: a damaged file leaves earlier samples untouched.
        generators = {name: generator.load(f"data/models/{name}", device, name) for name in MODELS}
        histories = {
            name: data.read_history(f"data/history/{name}.npz", model.spec)
            for name, model in generators.items()
        }
        real = game.read("data/dataset.npz", split, generators["cgan"].spec)

        samples = {name: latent.sample(model, p.per_class, seed) for name, model in generators.items()}
        spaces = {}
        for name, model in generators.items():
            files.write_npz(f"data/samples/{name}.npz", **samples[name])
            plots.samples("data/plots/sample", model.spec, name, samples[name])
            spaces[name] = latent.pictures(model, p.manifold_steps, seed)
            plots.latent_space("data/plots/sample", model.spec, name, spaces[name])
            plots.history("data/plots/history", model.spec, name, histories[name][1])
        spec = generators["cvae"].spec
        files.write_npz("data/samples/latent.npz", **latent.arrays(spaces, spec.count))
        tables = {name: latent.table(p.table_epochs, *history) for name, history in histories.items()}
        plots.learning("data/plots/sample", spec, tables, histories)
        program.write("data/playground", generators)
        chosen = game.pictures(samples, real, generators["cgan"], seed)
        files.write_npz("data/playground/game.npz", **chosen)

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
