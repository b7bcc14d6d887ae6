"""The MLflow store: opening it, and what is asked of it."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from pandas import DataFrame

from condgen.base import files
from condgen.base.errors import UserError, one_line, without_secrets
from condgen.base.pipeline import root
from condgen.tracking import address, location, views
from condgen.tracking.address import SQLITE

PAGE = 500  # runs in one answer of the server
NEWEST_FIRST, OLDEST_FIRST = "attributes.start_time DESC", "attributes.start_time ASC"
# Columns of metrics, but for times: a run of a training stage alone has nothing else.
MEASURED = r"^metrics\.(?!.*_(seconds|per_second)$)"


class Store(NamedTuple):
    """A tracking store and the experiment in it."""

    uri: str
    client: MlflowClient
    experiment: str

    def runs(self, query: str, order: str = NEWEST_FIRST) -> list[Run]:
        """Runs of the experiment that match MLflow's query, by default the newest first.

        Page by page: for 10,000 runs at once a server needs longer than its answer may take.
        """
        found: dict[str, Run] = {}  # one that begins meanwhile moves others to the next page
        token: str | None = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment], query, max_results=PAGE, order_by=[order], page_token=token
            )
            found |= {run.info.run_id: run for run in page}
            token = page.token or ""
        return list(found.values())

    def latest(self, query: str) -> Run | None:
        """The newest run that matches MLflow's query."""
        return next(iter(self.client.search_runs([self.experiment], query, max_results=1)), None)

    def children(self, run: str) -> list[Run]:
        """The stages of a pipeline run."""
        return self.runs(f"tags.mlflow.parentRunId = '{run}'")

    def link(self, run: str) -> str:
        """A run's page: an address for a server, else the part of it that follows the UI's address."""
        page = f"#/experiments/{self.experiment}/runs/{run}"
        return f"{without_secrets(self.uri).rstrip('/')}/{page}" if self.uri.startswith("http") else page

    def page(self, run: str) -> str:
        """A run's page with its whole address; for a file, as `make ui` serves it."""
        link = self.link(run)
        return link if link.startswith("http") else f"{address.LOCAL_UI}/{link}"


def connect(uri: str, name: str) -> Store:
    """Opens a store, and creates the experiment where there is none. Raises what MLflow raises.

    An experiment's artifact folder is fixed when it is created, so it must not lie in a temporary copy: it is
    beside the data base, or at the root of the repository. A server has its own.
    """
    folder = Path(uri.removeprefix(SQLITE)).parent if uri.startswith(SQLITE) else root()
    if not folder.is_dir():  # MLflow would try for minutes
        raise FileNotFoundError(f"{folder} does not exist")
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        _create(path)
        if (old := location.moved_from(path)) is not None:
            raise UserError(f"{path} keeps its artifacts in {old}, not beside it: {location.HINT}")
    server = uri.startswith(("http://", "https://", "databricks"))
    client = MlflowClient(uri, uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        artifacts = None if server else (folder / location.ARTIFACTS).as_uri()
        found = client.get_experiment(client.create_experiment(name, artifacts))
    if found.tags.get(views.VERSION) != views.NEWEST:
        for key, value in views.tags(found.experiment_id, int(time.time() * 1000)).items():
            client.set_experiment_tag(found.experiment_id, key, value)
    if found.lifecycle_stage == "deleted":  # in the UI; its name cannot be given to another
        client.restore_experiment(found.experiment_id)
    return Store(uri, client, found.experiment_id)


def _create(path: Path) -> None:
    """Makes a data base with MLflow's tables, whole or not at all.

    MLflow makes them by hundreds of statements. Killed in between, it could never use the file again.
    """
    if not _empty(path):
        return
    files.sweep(path.parent)
    with tempfile.TemporaryDirectory(prefix=files.unfinished(path.name), dir=path.parent) as folder:
        made = Path(folder, path.name)
        MlflowClient(f"{SQLITE}{made}").search_experiments(max_results=1)
        if _empty(path):  # another checkout that uses this file may have been quicker
            made.replace(path)


def _empty(path: Path) -> bool:
    return not path.exists() or (path.is_file() and not path.stat().st_size)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Raises UserError, "MLflow cannot ...", where the store fails."""
    try:
        yield
    except MlflowException as error:
        raise UserError(f"MLflow cannot {what}: {one_line(error)}") from None


def existing() -> Store:
    """The store that stages log to, for reading. Raises UserError where there is none."""
    uri, name = address.readable(), address.experiment()
    try:
        client = MlflowClient(uri, uri)
        found = client.get_experiment_by_name(name)
    except Exception as error:  # of MLflow, a URL parser, a data base, or a driver that is not installed
        raise UserError(
            f"MLflow cannot read {uri} ({one_line(error)}): MLFLOW_TRACKING_URI must be the address of "
            "a server, http(s)://..., or of a file, sqlite:///..."
        ) from None
    if found is None:
        raise UserError(f"{uri} has no experiment {name}: 'dvc repro' makes it")
    return Store(uri, client, found.experiment_id)


def finished(store: Store) -> DataFrame:
    """Finished, measured pipeline runs, the oldest first; columns as `mlflow.search_runs` names them.

    Raises UserError where the store fails.
    """
    with asking(f"read {store.uri}"):
        found = store.runs("tags.stage = 'pipeline' AND attributes.status = 'FINISHED'", OLDEST_FIRST)
    rows = [
        {"start_time": run.info.start_time}
        | {f"metrics.{key}": value for key, value in run.data.metrics.items()}
        | {f"params.{key}": value for key, value in run.data.params.items()}
        | {f"tags.{key}": value for key, value in run.data.tags.items()}
        for run in found
    ]
    runs = DataFrame(rows, columns=None if rows else ["start_time"])
    return runs[runs.filter(regex=MEASURED).notna().any(axis=1)]
