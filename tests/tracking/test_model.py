"""A logged model: what it is made of, and what loading it needs."""

import subprocess
import sys
import textwrap

import pytest
from test_tracking import deliver, empty_db, later, place  # noqa: F401

from condgen import tracking
from condgen.base import files
from condgen.models import cgan

# What the pipeline needs and MODEL_PACKAGES does not bring.
OTHERS = ["condgen.tracking", "dvc", "mlxtend", "psutil", "torchmetrics", "torchvision", "tqdm"]


@pytest.mark.parametrize("left_out", [[], ["safetensors"]])
def test_a_logged_model_loads_and_draws_with_the_packages_that_it_names(
    place, later, cgan_params, left_out  # noqa: F811
):
    network = cgan.build(cgan_params.model_copy(update={"hidden": 8}), 0)
    files.write_model("data/models/cgan", network.state_dict(), dict(network.config, model="cgan"))
    with tracking.stage("train_cgan") as run:
        run.model("cgan", "data/models/cgan", "draws digits")
    deliver(place)
    script = """
        import sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name in sys.argv[2:]:
                    raise ModuleNotFoundError(f"no module {name}")

        sys.meta_path.insert(0, Blocked())
        import mlflow, numpy as np
        mlflow.set_tracking_uri(sys.argv[1])
        model = mlflow.pyfunc.load_model("models:/condgen-cgan@latest")
        print(model.predict(np.array([3, 1]), {"n": 4}).shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), f"sqlite:///{place}/mlflow.db", *OTHERS, *left_out],
        cwd=place.parent, capture_output=True, text=True,
    )  # fmt: skip
    if left_out:
        assert "no module safetensors" in done.stderr
    else:
        assert done.stdout.strip() == "(8, 28, 28)", done.stderr
