"""Trains the CVAE: data/models/cvae and data/history/cvae.npz."""

import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import cvae, data, files, intervals, params, pipeline, resume, tracking, training


def main():
    p, split, seed = params.read(cvae.CVAEParams), params.read(data.SplitParams), params.read_seed()
    device = training.choose_device(params.read_threads())
    with tracking.stage("train_cvae") as run:
        run.tags(training.machine(device))
        images = data.load("data/mnist.npz", split, device)
        run.dataset("data/mnist.npz", images.source, "training")
        state = cvae.start(p, seed, device)
        recipe = resume.recipe("train_cvae", "data/mnist.npz", training.machine(device), p, split, seed=seed)
        checkpoint = resume.Checkpoint(pipeline.root(), "train_cvae", recipe)
        checkpoint.restore(state)
        z, labels = training.fixed_noise(seed, p.latent_dim, device)
        progress = training.Progress("cvae", p.epochs)
        training.record(
            cvae.train(state, images, p, seed, progress),
            state,
            progress,
            run,
            checkpoint,
            draw=lambda: data.to_uint8(cvae.draw(state.model, z, labels)),
        )

        elbo, bound = cvae.likelihood_bounds(state.model, images.test, seed)
        numbers = training.summary(state, images.source)
        numbers.update(intervals.named("test_elbo", elbo), **intervals.named("test_iwae_bound", bound))
        files.write_model("data/models/cvae", *training.parts(state.model, "cvae"))
        training.write_history("data/history/cvae.npz", state.pictures[1:], labels)
        files.write_csv("data/plots/cvae.csv", state.rows)
        files.write_json("data/metrics/train_cvae.json", numbers)

        run.numbers({key: numbers[key] for key in ("test_elbo", "test_iwae_bound")})
        run.model("cvae", "data/models/cvae")
        run.artifacts("data/plots/cvae.csv", "data/metrics/train_cvae.json")
        checkpoint.remove()


if __name__ == "__main__":
    condgen.preflight.run(main)
