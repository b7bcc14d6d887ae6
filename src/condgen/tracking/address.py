"""Where runs go, and what MLflow is told by the environment. A stage uses this module without MLflow."""

import os
import re
from pathlib import Path

from condgen.base.errors import UserError
from condgen.base.pipeline import root

SQLITE = "sqlite:///"
LOCAL_UI = "http://127.0.0.1:5000"  # of `make ui`
MOST_BYTES = 400  # SQLite opens 504; `store.connect` adds a folder to the path
# SQLAlchemy takes what follows a ? as options, and decodes %20; MLflow's SQL breaks on both kinds of quotes.
MISREAD = re.compile(r"""[?]|%[0-9a-fA-F]{2}|'.*"|".*'""")
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
    """Sets what MLflow reads from the environment, where the user has not: call it before its import."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # Whatever the user says: MLflow's own queue is in memory, and a journal is deleted when MLflow has it.
    os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"


def given() -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db: as a journal has it, so a checkout can be moved with its outbox."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"


def address(uri: str | None = None) -> str:
    """An address (default: `given()`) whose sqlite path starts at the root of the repository.

    Not at a temporary copy, which will be deleted. Raises UserError if MLflow cannot use the path.
    """
    uri = uri or given()
    if not uri.startswith(SQLITE):
        return uri
    path = str(root() / uri.removeprefix(SQLITE))
    if len(os.fsencode(path)) > MOST_BYTES or MISREAD.search(path):
        raise UserError(
            f"MLflow cannot use {path}: it must have at most {MOST_BYTES} bytes, and no ?, no % before two "
            "hexadecimal digits, and not both kinds of quotes: move the repository or set MLFLOW_TRACKING_URI"
        )
    return SQLITE + path


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
