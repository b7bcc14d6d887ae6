"""Where runs go, and what MLflow is told by the environment. A stage uses this module without MLflow."""

import os
from pathlib import Path

from condgen.base.errors import UserError, one_line
from condgen.base.pipeline import root

SQLITE = "sqlite:///"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
    # By default an unreachable server costs about 4 minutes a call. The journal is the retry.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


def configure() -> None:
    """Sets what MLflow reads when it is imported, where the user has not: call it before that."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def address(given: str | None = None) -> str:
    """What is given, or MLFLOW_TRACKING_URI, or mlflow.db at the root of the repository.

    A relative sqlite path starts at that root, not at a temporary copy that will be deleted.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    return f"{SQLITE}{root() / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def readable() -> str:
    """The address, to read from. Raises UserError if it names a missing file, which MLflow would make."""
    uri = address()
    file = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not file.is_file():
        what = "must be a file, but is a folder" if file.is_dir() else "does not exist: 'dvc repro' makes it"
        raise UserError(f"{uri} {what}")
    return uri


def experiment() -> str:
    """MLFLOW_EXPERIMENT_NAME, or "condgen"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "condgen"


def line(error: Exception) -> str:
    """An error on one line, without the secrets of an address in it."""
    return one_line(error) or type(error).__name__
