"""Shared fixtures: a small data set of real digits, and the parameters of params.yaml."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from condgen import preflight

# Before anything imports MLflow, and before PyTorch: tests may run beside other work.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
preflight.configure_threads()

from browser import browser, visit  # noqa: F401
from checkout import checkout, finished  # noqa: F401
from condgen.base import files, params
from condgen.datasets import data, download, sets
from condgen.models import cgan, classifier, cvae

# The same examples on every run, and no deadline, so that a slow machine passes.
settings.register_profile(
    "condgen",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("condgen")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def npz(tmp_path_factory) -> Path:
    """The bundled digits as a data set file."""
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    p = params.read(download.DataParams, ROOT / "params.yaml").model_copy(update={"source": "bundled"})
    files.write_npz(path, **sets.get(p, ROOT, sets=ROOT / sets.SETS))
    return path


@pytest.fixture(scope="session")
def split(npz) -> data.Split:
    return data.load(npz, data.SplitParams(validation=5000))


@pytest.fixture(scope="session")
def cvae_params() -> cvae.CVAEParams:
    return params.read(cvae.CVAEParams, ROOT / "params.yaml").model_copy(update={"epochs": 2})


@pytest.fixture(scope="session")
def cgan_params() -> cgan.CGANParams:
    return params.read(cgan.CGANParams, ROOT / "params.yaml").model_copy(update={"epochs": 2})


@pytest.fixture(scope="session")
def classifier_params() -> classifier.ClassifierParams:
    return params.read(classifier.ClassifierParams, ROOT / "params.yaml")


@pytest.fixture
def gen() -> torch.Generator:
    return torch.Generator().manual_seed(1)
