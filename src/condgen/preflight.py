"""What has to hold before a stage does any work, and how a stage ends.

Importing this module checks the interpreter and the packages; `run` checks all of params.yaml, so that
a wrong value in the last stage's section is said before the first stage trains for minutes.

No output depends on this module, so no stage lists it in its `deps`. It is written in Python that every
interpreter since 2.7 can read: an old one must be able to say that it is too old.
"""

import os
import sys

MIN_PYTHON = (3, 11)
# import name -> name to install
PACKAGES = {
    "filelock": "filelock",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "mlxtend": "mlxtend",
    "numpy": "numpy",
    "PIL": "pillow",
    "prdc": "prdc",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "torchmetrics": "torchmetrics",
    "torchvision": "torchvision",
    "tqdm": "tqdm",
    "vendi_score": "vendi-score",
    "yaml": "pyyaml",
}
HINT = "run 'make repro', or activate the environment that has condgen (pip install -c constraints.txt -e .)"


def problem():
    """One line that says what this interpreter lacks, or None."""
    if sys.version_info < MIN_PYTHON:
        return "needs Python %d.%d or newer, but %s is Python %d.%d: %s" % (
            MIN_PYTHON + (sys.executable,) + tuple(sys.version_info[:2]) + (HINT,)
        )
    from importlib.util import find_spec

    missing = sorted(PACKAGES[name] for name in PACKAGES if find_spec(name) is None)
    if missing:
        return "%s lacks the packages %s: %s" % (sys.executable, ", ".join(missing), HINT)
    return None


def fail(text):
    """Leaves with status 1 and one line on stderr."""
    sys.exit("condgen: " + " ".join(str(text).split()))


def check_params(path):
    """Reads every section of params.yaml; raises UserError on the first wrong value."""
    from condgen import cgan, classifier, cvae, data, download, evaluation, params, sampling

    params.check(
        path,
        [
            download.DataParams,
            data.SplitParams,
            classifier.ClassifierParams,
            cvae.CVAEParams,
            cgan.CGANParams,
            sampling.SampleParams,
            evaluation.EvaluateParams,
        ],
    )


def run(main):
    """Runs a stage's `main` in the root of its own checkout; says a UserError in one line.

    Stages use relative paths, so that their files are named alike in every copy of the repository.
    """
    from condgen.errors import UserError

    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    try:
        check_params("params.yaml")
        main()
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted")


_problem = problem()
if _problem is not None:
    fail(_problem)
