"""A small finished checkout in which a test runs stages in its own process, which saves seconds."""

import functools
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from condgen import preflight
from condgen.base import files, params
from condgen.datasets import data
from condgen.evaluation import suite
from condgen.models import MODELS, cgan, classifier, cvae
from condgen.reporting import plots
from condgen.sampling import game, generator, latent, program
from condgen.tracking import courier
from condgen.training.history import write_history
from specs import DIGITS

ROOT = Path(__file__).resolve().parents[1]
QUICK = {
    "data": {"source": "bundled", "timeout": 0.5},
    "classifier": {"epochs": 1, "channels": 2, "features": 8},
    "cvae": {"epochs": 1, "hidden": 8},
    "cgan": {"epochs": 1, "hidden": 8, "latent_dim": 4},
    "sample": {"per_class": 10, "manifold_steps": 2},
    "evaluate": {"gan_train_epochs": 1},
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, npz) -> Path:
    """A checkout with the files that all stages would leave: 300 real digits and tiny models."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "src/condgen").mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in QUICK.items():
        content[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(content))

    at = folder / "data"
    x_train, y_train, x_test, y_test = files.read_npz(npz, "x_train", "y_train", "x_test", "y_test")
    files.write_npz(
        at / "dataset.npz",
        x_train=x_train[:200], y_train=y_train[:200], x_test=x_test[:100], y_test=y_test[:100],
        classes=np.array(DIGITS.classes), source=np.array("a few digits"),
    )  # fmt: skip
    files.write_json(at / "metrics/download.json", {"data": "a few digits"})
    files.write_json(at / "metrics/train_classifier.json", {"data": "a few digits", "test_accuracy": 0.5})
    bounds = {key: [-2.0, -1.0] if key.endswith("_interval") else -1.5 for key in suite.BOUND_KEYS}
    bounds[suite.BITS] = 0.3
    files.write_json(at / "metrics/train_cvae.json", {"data": "a few digits"} | bounds)
    p = functools.partial(params.read, path=folder / "params.yaml")
    networks = {
        "classifier": classifier.build(p(classifier.ClassifierParams), DIGITS, 0),
        "cvae": cvae.build(p(cvae.CVAEParams), DIGITS, 0),
        "cgan": cgan.build(p(cgan.CGANParams), DIGITS, 0),
    }
    for name, network in networks.items():
        files.write_model(at / f"models/{name}", network.state_dict(), dict(network.config, model=name))
    rng = np.random.default_rng(0)
    labels = torch.arange(10).repeat_interleave(10)
    samples = {}
    for name, columns in plots.CURVES.items():
        pictures = rng.integers(0, 256, (2, 100, 28, 28), dtype=np.uint8)
        write_history(at / f"history/{name}.npz", DIGITS, pictures)
        samples[name] = {"images": pictures[1], "labels": labels.numpy().astype("u1")}
        files.write_npz(at / f"samples/{name}.npz", **samples[name])
        rows = [dict.fromkeys(columns, 0.5) | {"epoch": epoch} for epoch in (1, 2)]
        files.write_csv(at / f"plots/{name}.csv", rows)
    generators = {name: generator.load(at / f"models/{name}", name=name) for name in MODELS}
    spaces = {name: latent.pictures(model, 2, 0) for name, model in generators.items()}
    files.write_npz(at / "samples/latent.npz", **latent.arrays(spaces, DIGITS.count))
    program.write(at / "playground", generators)
    split = data.load(at / "dataset.npz", data.SplitParams(validation=5000))
    files.write_npz(at / "playground/game.npz", **game.pictures(samples, split, generators["cgan"], 0))
    files.write_json(at / "metrics/evaluate.json", {"earlier": "results"})
    return folder


@pytest.fixture
def checkout(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished checkout, in which this process runs stages."""
    folder = tmp_path / "checkout"
    shutil.copytree(finished, folder)
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_", "MNIST_MIRROR", "CONDGEN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CONDGEN_DEVICE", "cpu")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(preflight, "CHECKOUT", folder)
    monkeypatch.setattr(courier, "start", lambda folder: None)
    return folder


@functools.cache
def stage_main(stage):
    spec = importlib.util.spec_from_file_location(f"stage_{stage}", ROOT / f"stages/{stage}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def run(stage):
    preflight.run(stage_main(stage))
