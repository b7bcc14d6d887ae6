"""Where runs go, and how MLflow is set up. No MLflow here: a stage asks this and does not import it."""

import os
import re

from condgen.base.pipeline import root

EXPERIMENT = "condgen"
USERINFO = re.compile(r"(://)[^/\s]*@")  # greedy: a password may hold an @
SQLITE = "sqlite:///"
# The package imports this module before any that imports MLflow.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_name, _value)


def address() -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db at the root of the repository.

    A relative sqlite path counts from that root, not from a copy that will be deleted.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    return f"{SQLITE}{root() / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def bare(uri: str) -> str:
    """An address without user and password: what may be written to disk, and opened as a link."""
    return USERINFO.sub(r"\1", uri)


def hidden(text: str) -> str:
    """A text with *** for user and password of each address in it."""
    return USERINFO.sub(r"\1***@", text)


def line(error: Exception) -> str:
    """An error on one line, without the login that an address in it may hold."""
    return hidden(" ".join(str(error).split())[:300] or type(error).__name__)


def experiment() -> str:
    """The experiment's name: MLFLOW_EXPERIMENT_NAME, or ours."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
