"""The MLflow pyfunc model that draws digits: labels in, images out.

MLflow stores this file as the model's code ("models from code") with model.safetensors, config.json and
a copy of the package: nothing is pickled, and loading needs only MLflow and the listed packages.
"""

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

MOST = 100_000  # images in one answer: 78 MB
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
    outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 28, 28))]),
    params=ParamSchema(
        [
            ParamSpec("n", "long", 1),
            ParamSpec("seed", "long", 0),
            ParamSpec("temperature", "double", 1.0),
        ]
    ),
)


class Drawer(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Draws `n` images of every label, uint8 [len(labels) * n, 28, 28], label after label."""

    def load_context(self, context):
        # Imported here: MLflow also runs this file when it stores a model, which needs no PyTorch.
        from condgen.sampling import generator

        self.generator = generator.load(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params=None):
        """labels `[m]`; params: n images per label, seed, temperature (z is scaled by it; 1 is the prior)."""
        import torch

        from condgen.base.errors import UserError
        from condgen.datasets import data
        from condgen.sampling.generator import check_conditional, check_noise

        params = {"n": 1, "seed": 0, "temperature": 1.0} | (params or {})
        labels = torch.as_tensor(np.asarray(model_input).reshape(-1), dtype=torch.int64)
        n, seed, temperature = params["n"], params["seed"], params["temperature"]
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= data.CLASSES:
            raise _refused("labels", labels.tolist()[:20], "one or more digits, each in 0..9")
        if n < 1 or n * len(labels) > MOST:
            raise _refused("n", n, f"at least 1, and give at most {MOST} images in one answer")
        try:
            check_conditional(self.generator)
            check_noise(seed, temperature)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        labels = labels.repeat_interleave(n)
        return self.generator.images(labels, "serving", seed, temperature)


def _refused(name, value, must_be):
    """The one error whose message a model server returns to the client."""
    return MlflowException.invalid_parameter_value(f"{name} is {value}, but must be {must_be}")


mlflow.models.set_model(Drawer())
