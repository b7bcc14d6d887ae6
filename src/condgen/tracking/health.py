"""Can the tracking store be used from this machine: reached, of a version that fits, written to?"""

import os
import secrets
import tempfile
from pathlib import Path

import mlflow
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import read_mlflow_creds

from condgen.base.errors import UserError, one_line, without_secrets
from condgen.base.pipeline import root
from condgen.tracking import address, location

SECONDS = 5  # to answer a question
OLDEST = (3, 17)  # SECURITY.md says why
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


class Unusable(Exception):
    """What was seen, and what to do about it."""

    def __init__(self, seen: str, do: str):
        super().__init__(seen)
        self.seen, self.do = seen, do


def check() -> str:
    """What was seen of the store, in words. Raises Unusable. What it writes it removes."""
    try:
        uri = address.address()
    except UserError as error:
        raise Unusable(str(error), "see docs/tracking.md") from None
    if uri.startswith(address.SQLITE):
        return _file(Path(uri.removeprefix(address.SQLITE)))
    shown = without_secrets(uri)
    said = _version(uri, shown) if uri.startswith(("http://", "https://")) else "no server but a data base"
    client = MlflowClient(uri, uri)
    try:
        found = client.get_experiment_by_name(address.experiment())
    except Exception as error:  # of MLflow, SQLAlchemy, a driver
        raise Unusable(f"{shown}: {said}, but refuses: {one_line(error)}", LOGIN) from None
    place = found.artifact_location if found is not None else None
    _write(place or "mlflow-artifacts:/", uri, f"{shown}: {said}")
    return f"{shown}: {said}, logged in, artifacts can be written"


def _file(path: Path) -> str:
    if (old := location.moved_from(path)) is not None:
        raise Unusable(f"{path} keeps its artifacts in {old}, not beside it", location.HINT)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Unusable(f"{path} cannot be written", "give yourself the right to, or set MLFLOW_TRACKING_URI")
    shown = path.relative_to(root()) if path.is_relative_to(root()) else path
    return f"{shown}, a file of this machine{'' if path.exists() else ', which the first run makes'}"


def _version(uri: str, shown: str) -> str:
    """'MLflow 3.17.2'."""
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(SECONDS)
    try:
        answer = requests.get(f"{uri.rstrip('/')}/version", timeout=SECONDS, auth=_login())
    except requests.RequestException as error:
        reason = "silent" if isinstance(error, requests.Timeout) else "cannot be reached"
        raise Unusable(f"{shown} {reason}", "start the server, or correct MLFLOW_TRACKING_URI") from None
    if answer.status_code in (401, 403) and "Invalid Host" not in answer.text:
        raise Unusable(f"{shown}: the login is refused (status {answer.status_code})", LOGIN)
    if not answer.ok:
        do = "is its host name, with its port, in the server's --allowed-hosts?"
        raise Unusable(f"{shown} answers with status {answer.status_code}, not with a version", do)
    parts = answer.text.strip().split(".")
    if not all(part.isdigit() for part in parts[:2]) or len(parts) < 2:
        raise Unusable(f"{shown} is no MLflow server", "correct MLFLOW_TRACKING_URI")
    said, there = f"MLflow {answer.text.strip()}", (int(parts[0]), int(parts[1]))
    here = mlflow.__version__
    if there < OLDEST or parts[0] != here.split(".")[0]:
        raise Unusable(f"{shown}: {said}, but here is {here}", "bring the server to the version that is here")
    return said


def _login() -> tuple[str, str] | None:
    """As MLflow's client finds it: in the environment, or in ~/.mlflow/credentials."""
    found = read_mlflow_creds()
    return (found.username, found.password) if found.username and found.password else None


def _write(place: str, uri: str, shown: str) -> None:
    """Writes an artifact where the experiment has its artifacts, and removes it."""
    token = f"condgen-doctor-{secrets.token_hex(6)}"
    repository = get_artifact_repository(f"{place.rstrip('/')}/{token}", tracking_uri=uri)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "doctor.txt")
            path.write_text("condgen doctor\n")
            repository.log_artifact(str(path))
        repository.delete_artifacts()
    except (MlflowException, OSError, requests.RequestException, ImportError) as error:
        do = "the server needs --serve-artifacts, a disk with space, and this login the right to edit"
        raise Unusable(
            f"{shown}, logged in, but artifacts cannot be written: {one_line(error)}", do
        ) from None
