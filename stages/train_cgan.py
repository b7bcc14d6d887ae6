"""Trains the CGAN: data/models/cgan and data/history/cgan.npz."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import cgan, data, files, params, pipeline, resume, tracking, training


def main():
    p, split, seed = params.read(cgan.CGANParams), params.read(data.SplitParams), params.read_seed()
    device = training.choose_device(params.read_threads())
    with tracking.stage("train_cgan") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "training")
        state = cgan.start(p, seed, device)
        recipe = resume.recipe("train_cgan", "data/mnist.npz", training.machine(device), p, split, seed=seed)
        checkpoint = resume.Checkpoint(pipeline.root(), "train_cgan", recipe)
        checkpoint.restore(state)
        z, labels = training.fixed_noise(seed, p.latent_dim, device)
        progress = training.Progress("cgan", p.epochs)
        training.record(
            cgan.train(state, images, p, seed, progress),
            state,
            progress,
            run,
            checkpoint,
            draw=lambda: data.to_uint8(cgan.draw(state.model, z, labels)),
        )

        numbers = training.summary(state, images.source)
        files.write_model("data/models/cgan", *training.parts(state.model, "cgan"))
        training.write_history("data/history/cgan.npz", state.pictures[1:], labels)
        files.write_csv("data/plots/cgan.csv", state.rows)
        files.write_json("data/metrics/train_cgan.json", numbers)

        run.model("cgan", "data/models/cgan")
        run.artifacts("data/plots/cgan.csv", "data/metrics/train_cgan.json")
        checkpoint.remove()


if __name__ == "__main__":
    condgen.preflight.run(main)
