"""Where runs go, and what MLflow is told by the environment. A stage uses this module without MLflow."""

import os
import re

from condgen.base.pipeline import root

USERINFO = re.compile(r"(://)[^/\s]*@")  # greedy: a password may hold an @
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


def address() -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db at the root of the repository.

    A relative sqlite path starts at that root, not at a temporary copy that will be deleted.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    return f"{SQLITE}{root() / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def experiment() -> str:
    """MLFLOW_EXPERIMENT_NAME, or "condgen"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "condgen"


def bare(uri: str) -> str:
    """An address without user and password: what may be written to disk, and opened as a link."""
    return USERINFO.sub(r"\1", uri)


def hidden(text: str) -> str:
    """A text with *** for user and password of each address in it."""
    return USERINFO.sub(r"\1***@", text)


def line(error: Exception) -> str:
    """An error on one line, without the login that an address in it may hold."""
    return hidden(" ".join(str(error).split())[:300] or type(error).__name__)
