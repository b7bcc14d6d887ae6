"""Draws from both models: data/samples, and the pictures in data/plots/sample."""

import functools
import os
import sys

# The package of this very checkout: an editable install would import another copy's.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))
import condgen.preflight  # first: it says in one line what a wrong Python lacks
from condgen import cgan, cvae, data, figures, files, params, sampling, tracking, training

MODELS = {"cvae": (cvae.CVAE, cvae.draw), "cgan": (cgan.CGAN, cgan.draw)}
PLOTS = "data/plots/sample"


def main():
    p, seed = params.read(sampling.SampleParams), params.read_seed()
    device = training.choose_device(params.read_threads())
    with tracking.stage("sample") as run:
        run.tags(training.machine(device))
        # All that is read comes before anything is written: a damaged file leaves earlier samples alone.
        models = {
            name: training.restore(network, *files.read_model("data/models/" + name)).to(device)
            for name, (network, _) in MODELS.items()
        }
        histories = {name: data.read_history("data/history/%s.npz" % name) for name in MODELS}
        for name, (_, draw) in MODELS.items():
            draw_images = functools.partial(draw, models[name])
            latent_dim = models[name].config["latent_dim"]
            samples = sampling.sample(draw_images, latent_dim, p.per_class, seed, device)
            files.write_npz("data/samples/%s.npz" % name, **samples)
            figures.class_grid("%s/%s_classes.png" % (PLOTS, name), samples["images"], samples["labels"])
            figures.grid(
                "%s/%s_same_noise.png" % (PLOTS, name),
                sampling.same_noise(draw_images, latent_dim, 10, seed, device),
                columns=10,
            )
            figures.grid(
                "%s/%s_interpolation.png" % (PLOTS, name),
                sampling.interpolation(draw_images, latent_dim, 15, seed, device),
                columns=15,
            )
            if latent_dim == 2:
                manifold = sampling.manifold(draw_images, p.manifold_steps, device)
                figures.manifold("%s/%s_manifold.png" % (PLOTS, name), manifold)
        table = {name: sampling.table(p.table_epochs, *history) for name, history in histories.items()}
        figures.article_table(PLOTS + "/article_table.png", table)
        figures.animation(PLOTS + "/training.gif", {name: h[:2] for name, h in histories.items()})

        run.artifacts(PLOTS, "data/samples/cvae.npz", "data/samples/cgan.npz")


if __name__ == "__main__":
    condgen.preflight.run(main)
