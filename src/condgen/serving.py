"""The MLflow pyfunc model that draws digits: labels in, images out.

MLflow keeps this file as the model's code ("models from code") beside model.safetensors, config.json and
a copy of the package: nothing is pickled, and loading needs MLflow and the listed packages only.
"""

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from condgen import cgan, cvae, data, files, sampling, training
from condgen.randomness import generator

MODELS = {"cvae": (cvae.CVAE, cvae.draw), "cgan": (cgan.CGAN, cgan.draw)}
# What loading needs; MLflow lists them with the versions at hand.
PACKAGES = ("mlflow", "numpy", "pydantic", "pyyaml", "safetensors", "torch", "tqdm")
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
    outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, data.SIDE, data.SIDE))]),
    params=ParamSchema(
        [
            ParamSpec("n", "long", 1),
            ParamSpec("seed", "long", 0),
            ParamSpec("temperature", "double", 1.0),
        ]
    ),
)


class Drawer(mlflow.pyfunc.PythonModel):
    """Draws `n` images of every label, uint8 [len(labels) * n, 28, 28], label after label."""

    def load_context(self, context):
        state, config = files.read_model(context.artifacts["model"])
        kind, self.draw = MODELS[config["model"]]
        self.network = training.restore(kind, state, config)

    def predict(self, context, model_input: np.ndarray, params=None):
        """labels `[m]`; params: n images a label, seed, temperature (z is scaled by it; 1 is the prior)."""
        params = {"n": 1, "seed": 0, "temperature": 1.0} | (params or {})
        labels = torch.as_tensor(np.asarray(model_input).reshape(-1), dtype=torch.int64)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= data.CLASSES:
            raise ValueError(f"labels are {labels.tolist()}: allowed are one or more, each in 0..9")
        labels = labels.repeat_interleave(params["n"])
        noise = generator(params["seed"], "serving")
        z = torch.randn(len(labels), self.network.config["latent_dim"], generator=noise)

        def draw(z, y):
            return self.draw(self.network, z, y)

        return sampling.images(draw, z * params["temperature"], labels, torch.device("cpu"))


mlflow.models.set_model(Drawer())
