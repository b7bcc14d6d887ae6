"""Draws from both models: data/samples, and the pictures in data/plots/sample."""

import functools
import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import cgan, cvae, figures, files, params, sampling, tracking, training

MODELS = {"cvae": (cvae.CVAE, cvae.draw), "cgan": (cgan.CGAN, cgan.draw)}
PLOTS = "data/plots/sample"


def main():
    p, seed = params.read(sampling.SampleParams), params.read_seed()
    device = training.choose_device()
    reads = ["data/models/cvae", "data/models/cgan", "data/history/cvae.npz", "data/history/cgan.npz"]
    writes = ["data/samples/cvae.npz", "data/samples/cgan.npz", PLOTS]
    with tracking.stage("sample", ["seed", "sample"], reads, writes) as run:
        run.tags(training.machine(device))
        histories, table = {}, {}
        for name, (network, draw) in MODELS.items():
            model = training.restore(network, *files.read_model("data/models/" + name)).to(device)
            draw_images = functools.partial(draw, model)
            samples = sampling.sample(draw_images, model.config["latent_dim"], p.per_class, seed, device)
            files.write_npz("data/samples/%s.npz" % name, **samples)
            figures.class_grid("%s/%s_classes.png" % (PLOTS, name), samples["images"], samples["labels"])
            if name == "cvae" and model.config["latent_dim"] == 2:
                figures.manifold(
                    PLOTS + "/cvae_manifold.png", sampling.manifold(draw_images, p.manifold_steps, device)
                )
            epochs, images, labels = files.read_npz(
                "data/history/%s.npz" % name, "epochs", "images", "labels"
            )
            histories[name] = (epochs, images)
            table[name] = sampling.table(p.table_epochs, epochs, images, labels)
        figures.article_table(PLOTS + "/article_table.png", table)
        figures.animation(PLOTS + "/training.gif", histories)

        run.artifacts(PLOTS, "data/samples/cvae.npz", "data/samples/cgan.npz")


if __name__ == "__main__":
    condgen.preflight.run(main)
