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
    device = training.choose_device(params.read_threads())
    with tracking.stage("sample") as run:
        run.tags(training.machine(device))
        histories, table = {}, {}
        for name, (network, draw) in MODELS.items():
            model = training.restore(network, *files.read_model("data/models/" + name)).to(device)
            draw_images = functools.partial(draw, model)
            samples = sampling.sample(draw_images, model.config["latent_dim"], p.per_class, seed, device)
            files.write_npz("data/samples/%s.npz" % name, **samples)
            figures.class_grid("%s/%s_classes.png" % (PLOTS, name), samples["images"], samples["labels"])
            figures.grid(
                "%s/%s_same_noise.png" % (PLOTS, name),
                sampling.same_noise(draw_images, model.config["latent_dim"], 10, seed, device),
                columns=10,
            )
            figures.grid(
                "%s/%s_interpolation.png" % (PLOTS, name),
                sampling.interpolation(draw_images, model.config["latent_dim"], 15, seed, device),
                columns=15,
            )
            if model.config["latent_dim"] == 2:
                manifold = sampling.manifold(draw_images, p.manifold_steps, device)
                figures.manifold("%s/%s_manifold.png" % (PLOTS, name), manifold)
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
