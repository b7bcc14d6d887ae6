"""The MLflow store: its address, how patiently it is spoken to, and what is asked of it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlflow
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from condgen.base.errors import UserError
from condgen.base.pipeline import root
from condgen.experiments import pooling
from condgen.tracking import address, views
from condgen.tracking.address import SQLITE

LOCK_SECONDS = 120
# Seconds for an answer, and second tries. MLflow's own patience is about four minutes a call.
FIRST, LATER, LAST = (5, 0), (15, 1), (3, 0)
CHOSEN = {
    name for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES") if name in os.environ
}


class Store(NamedTuple):
    """A tracking store and the experiment in it."""

    uri: str
    client: MlflowClient
    experiment: str

    def runs(self, query: str, newest: int | None = None) -> Iterator[Run]:
        """Runs of the experiment that fit MLflow's query, the newest first."""
        token, size = None, min(newest or 500, 500)
        while token != "":
            page = self.client.search_runs(
                [self.experiment], query, max_results=size, page_token=token,
                order_by=["attributes.start_time DESC"],
            )  # fmt: skip
            yield from page
            token = "" if newest else page.token or ""

    def link(self, run: str) -> str:
        """A run's page: an address for a server, else the part of it that follows the UI's address."""
        page = f"#/experiments/{self.experiment}/runs/{run}"
        return f"{address.bare(self.uri).rstrip('/')}/{page}" if self.uri.startswith("http") else page


def patience(seconds: int, retries: int) -> None:
    """How long a server may take from here on, where the environment does not say."""
    wanted = {"MLFLOW_HTTP_REQUEST_TIMEOUT": seconds, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries}
    os.environ.update({name: str(value) for name, value in wanted.items() if name not in CHOSEN})


def use(uri: str) -> None:
    """Makes an address the one that MLflow's functions without a client use, and leaves the environment."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)  # which would tell it to whoever asks for the address later, too
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given


def connect(uri: str, name: str) -> Store:
    """Opens a store, and makes the experiment where there is none. Raises what MLflow raises.

    An experiment's artifact folder is fixed when it is first made. Only a server knows a place for it that
    outlives the working directory, so elsewhere it is made absolute, beside the store or at the root.
    """
    use(uri)
    if not uri.startswith(SQLITE):
        server = uri.startswith(("http://", "https://", "databricks"))
        return _connect(uri, name, None if server else (root() / "mlartifacts").as_uri())
    folder = Path(uri.removeprefix(SQLITE)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist")
    # Two processes that start at once must not both create the tables, which making a client does.
    with FileLock(folder / "mlflow.db.lock", timeout=LOCK_SECONDS):
        return _connect(uri, name, (folder / "mlartifacts").as_uri())


def _connect(uri: str, name: str, artifacts: str | None) -> Store:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(name)
    patience(*LATER)  # there is a server, which may take its time
    if found is None:
        try:
            client.create_experiment(name, artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody was quicker
                raise
        found = client.get_experiment_by_name(name)
    if views.RESULTS not in found.tags:
        for key, value in views.tags(found.experiment_id, int(time.time() * 1000)).items():
            client.set_experiment_tag(found.experiment_id, key, value)
    if found.lifecycle_stage == "deleted":  # in the UI; its name cannot be given again
        client.restore_experiment(found.experiment_id)
    return Store(uri, client, found.experiment_id)


def existing() -> Store:
    """The store that stages log to, for reading. Raises UserError where there is none."""
    uri, name = address.address(), address.experiment()
    shown = address.hidden(uri)
    file = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not file.is_file():  # MLflow would try for minutes
        what = "is a folder: allowed is a file" if file.is_dir() else "does not exist: 'dvc repro' makes it"
        raise UserError(f"{shown} {what}")
    use(uri)
    patience(*LATER)
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(name)
    except Exception as error:  # MLflow's own, or that of a parser, a data base or a driver that is not there
        raise UserError(
            f"MLflow cannot read {shown}: {address.line(error)}: allowed in MLFLOW_TRACKING_URI is an "
            "address of a server, http(s)://..., or of a file, sqlite:///..."
        ) from None
    if found is None:
        raise UserError(f"{shown} has no experiment {name}: 'dvc repro' makes it")
    return Store(uri, client, found.experiment_id)


def finished(store: Store) -> list[pooling.Finished]:
    """Every finished pipeline run with its final numbers. Raises UserError where the store fails."""
    try:
        runs = list(store.runs("tags.stage = 'pipeline' AND attributes.status = 'FINISHED'"))
    except MlflowException as error:
        raise UserError(f"MLflow cannot read {address.hidden(store.uri)}: {address.line(error)}") from None
    return [_finished(run) for run in runs if run.data.metrics]


def _finished(run: Run) -> pooling.Finished:
    data = ", ".join(sorted({used.dataset.name for used in run.inputs.dataset_inputs}))
    return pooling.Finished(
        name=run.info.run_name,
        started=run.info.start_time,
        params=run.data.params | {"data": data, "code": run.data.tags.get("code", "unknown")},
        metrics=run.data.metrics,
    )
