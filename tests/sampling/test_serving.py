"""What MLflow's server makes of a request, without its port."""

import json
import warnings

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from condgen.base import files
from condgen.models import cgan, split_state
from specs import DIGITS


@pytest.fixture(scope="module")
def model(cgan_params, tmp_path_factory):
    """An untrained CGAN as a pyfunc model, loaded again."""
    folder = tmp_path_factory.mktemp("served")
    network = cgan.build(cgan_params.model_copy(update={"hidden": 8}), DIGITS, 0)
    files.write_model(folder / "files", *split_state(network, "cgan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        from condgen.sampling import serving

        mlflow.pyfunc.save_model(
            folder / "model",
            python_model=serving.__file__,
            artifacts={"model": str(folder / "files")},
            signature=serving.signature(DIGITS.shape),
            pip_requirements=["mlflow"],
        )
        return mlflow.pyfunc.load_model(str(folder / "model"))


def ask(model, text):
    from mlflow.pyfunc import scoring_server

    schema = model.metadata.get_input_schema()
    return json.loads(scoring_server.invocations(text, "application/json", model, schema).response)


def test_labels_in_pictures_out(model):
    answer = ask(model, '{"inputs": [9, 0, 3], "params": {"n": 2, "seed": 5}}')
    images = np.array(answer["predictions"])
    assert images.shape == (6, 28, 28)
    assert np.array_equal(images, model.predict(np.array([9, 0, 3]), {"n": 2, "seed": 5}))
    assert np.array_equal(
        images, ask(model, '{"instances": [9, 0, 3], "params": {"n": 2, "seed": 5}}')["predictions"]
    )


@pytest.mark.attack
@pytest.mark.parametrize(
    "labels",
    ["[9.99]", "[-0.5]", "[3.0]", "[1, 2.5]", "[10]", "[-1]", "[true]", '["3"]', "[null]", "[[1, 2]]",
     "[[1], [2, 3]]", "3", "[1e400]", "[NaN]", "[1000000000000000000000]"],
)  # fmt: skip
def test_labels_that_are_no_whole_numbers_of_a_class_are_refused(model, labels):
    with pytest.raises(
        MlflowException, match=r"labels is .* a list of one or more digits, each a whole number in 0\.\.9"
    ):
        ask(model, f'{{"inputs": {labels}}}')


@pytest.mark.attack
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"n": 10_001}, "n is 10001, but must be at least 1, and give at most 10000 images"),
        ({"n": 0}, "n is 0, but must be"),
        ({"n": 2.5}, "Can not safely convert"),
        ({"seed": 0.5}, "Can not safely convert"),
        ({"seed": -1}, "seed is -1, but must be in"),
        ({"temperature": float("nan")}, "temperature is nan, but must be in"),
    ],
)
def test_params_out_of_range_are_refused(model, params, said):
    with pytest.raises(MlflowException, match=said):
        ask(model, json.dumps({"inputs": [1], "params": params}))
