"""The MLflow pyfunc model that draws: labels in, images out.

MLflow stores this file as the model's code ("models from code") with model.safetensors, config.json and
a copy of the package: nothing is pickled, and loading needs only MLflow and the listed packages.
"""

import reprlib
from collections.abc import Sequence

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

# Numbers in one answer: 10,000 images of MNIST. MLflow's server writes two million or more a second as JSON,
# and gives an answer up after 60 s.
MOST = 7_840_000
SHOWN = 20  # names of classes in a message
PARAMS = ParamSchema(
    [ParamSpec("n", "long", 1), ParamSpec("seed", "long", 0), ParamSpec("temperature", "double", 1.0)]
)


def signature(shape: Sequence[int]) -> ModelSignature:
    """Of a model whose images have this shape in files: [side, side], or [side, side, 3]."""
    return ModelSignature(
        # Anything: as numbers MLflow's server would cut 9.99 to 9 before the model sees it.
        inputs=Schema([TensorSpec(np.dtype(np.object_), (-1,))]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
        params=PARAMS,
    )


def example(classes: int) -> tuple[np.ndarray, dict[str, int | float]]:
    """A request of a model: labels, and its params."""
    return np.arange(min(classes, 3)).astype(object), {"n": 2, "seed": 0, "temperature": 1.0}


class Drawer(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Draws `n` images of every label, uint8 [len(labels) * n, ...], label after label."""

    def load_context(self, context):
        # Imported here: MLflow also runs this file when it stores a model, which needs no PyTorch.
        from condgen.sampling import generator

        self.generator = generator.load(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params=None):
        """labels `[m]`; params: n images per label, seed, temperature (z is scaled by it; 1 is the prior)."""
        import torch

        from condgen.base.errors import UserError
        from condgen.datasets.spec import Words
        from condgen.sampling.generator import check_conditional, check_noise

        classes, most = self.generator.spec.classes, MOST // self.generator.spec.pixels
        params = {"n": 1, "seed": 0, "temperature": 1.0} | (params or {})
        values = np.asarray(model_input, dtype=object)
        labels = values.tolist() if values.ndim == 1 else []
        n, seed, temperature = params["n"], params["seed"], params["temperature"]
        whole = all(isinstance(label, int | np.integer) and type(label) is not bool for label in labels)
        if not labels or not whole or min(labels) < 0 or max(labels) >= len(classes):
            names = ", ".join(
                f"{label} {name}" for label, name in enumerate(classes[:SHOWN]) if str(label) != name
            )
            must_be = f"one or more {Words(classes).many}, each a whole number in 0..{len(classes) - 1}" + (
                f" ({names})" if names else ""
            )
            raise _refused("labels", reprlib.repr(values.tolist()), f"a list of {must_be}")
        if n < 1 or n * len(labels) > most:
            raise _refused("n", n, f"at least 1, and give at most {most} images in one answer")
        try:
            check_conditional(self.generator)
            check_noise(seed, temperature)
            drawn = torch.tensor(labels).repeat_interleave(n)
            return self.generator.images(drawn, "serving", seed, temperature)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def _refused(name, value, must_be):
    """The one error whose message a model server returns to the client."""
    return MlflowException.invalid_parameter_value(f"{name} is {value}, but must be {must_be}")


mlflow.models.set_model(Drawer())
