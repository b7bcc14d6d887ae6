"""Trains the CGAN: data/models/cgan and data/history/cgan.npz."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import cgan, data, files, params, tracking, training


def main():
    p, split, seed = params.read(cgan.CGANParams), params.read(data.SplitParams), params.read_seed()
    device = training.choose_device()
    with tracking.stage("train_cgan") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "training")
        model = cgan.build(p, seed).to(device)
        z, labels = training.fixed_noise(seed, p.latent_dim, device)
        progress = training.Progress("cgan", p.epochs)
        rows, history = training.record(
            cgan.train(model, images, p, seed, progress),
            progress,
            run,
            draw=lambda: data.to_uint8(cgan.draw(model, z, labels)),
        )

        numbers = training.summary(rows[-1], model, images.source)
        files.write_model("data/models/cgan", model.state_dict(), dict(model.config, model="cgan"))
        training.write_history("data/history/cgan.npz", history, labels)
        files.write_csv("data/plots/cgan.csv", rows)
        files.write_json("data/metrics/train_cgan.json", numbers)

        run.model("cgan", "data/models/cgan")
        run.artifacts("data/plots/cgan.csv", "data/metrics/train_cgan.json")


if __name__ == "__main__":
    condgen.preflight.run(main)
