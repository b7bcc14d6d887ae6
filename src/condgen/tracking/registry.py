"""The model registry: every trained model is a version, and the best of them is the champion.

MLflow resolves the alias `latest` by itself (it may not be set); `champion` is moved here.
"""

import atexit
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from condgen.base.errors import UserError, one_line
from condgen.tracking import address, location
from condgen.tracking.address import SQLITE

CHAMPION = "champion"
REPORT = "report.html"  # among the artifacts of a pipeline run


def registered_name(model: str) -> str:
    return f"condgen-{model}"


def register(client: MlflowClient, model: LoggedModel, about: str, md5: str, text: str) -> None:
    """A logged model becomes the latest version of its name, once.

    about: what all its versions are. md5: of its model.safetensors. text: its own description, Markdown.
    """
    name, run = registered_name(model.name), model.source_run_id
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=about)
    location, tags = model.artifact_location, {"md5": md5}
    found = client.search_model_versions(f"name = '{name}' AND run_id = '{run}'")
    version = (
        found[0]
        if found
        else client.create_model_version(name, location, run, tags, None, text, model_id=model.model_id)
    )
    # From the page of the logged model to the registry, as `mlflow.register_model` links them.
    versions = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: versions})


def version_of(client: MlflowClient, model: str, md5: str | None) -> ModelVersion | None:
    """The latest version of a model with these weights, or None. md5: of its model.safetensors, if known."""
    versions = client.search_model_versions(f"name = '{registered_name(model)}' AND tags.md5 = '{md5}'")
    return max(versions, key=lambda version: int(version.version), default=None)


def promote_if_better(
    client: MlflowClient, model: str, md5: str | None, metric: str, better: str, found: dict[str, Any]
) -> str:
    """Gives a model's version its result, and the alias `champion` if it is the best so far.

    md5: of its model.safetensors, if known. better: "higher", "lower" or "near 1". found: `value`, `images`,
    `reference_images`, `classes`, and `judged_by`, which names the real images and the classifier. Results of
    other judges do not compare, so a champion stays, unless the new one was judged by more real images of the
    same classes (the full test set after the bundled one).

    Returns what became of it, in words.
    """
    name = registered_name(model)
    mine = version_of(client, model, md5)
    if mine is None:
        return f"no version of {name} is known to have drawn these samples"
    for key in ("value", "images", "reference_images", "judged_by", "classes"):
        tag = metric if key == "value" else key
        client.set_model_version_tag(name, mine.version, tag, str(found[key]))
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    old = client.get_model_version(name, champion) if champion else None
    verdict = _verdict(old, mine, metric, better, found)
    if verdict.startswith("champion"):
        client.set_registered_model_alias(name, CHAMPION, mine.version)
    return f"{name} version {mine.version}: {verdict}"


def _verdict(
    old: ModelVersion | None, mine: ModelVersion, metric: str, better: str, found: dict[str, Any]
) -> str:
    if old is None:
        return "champion, the first"
    if old.version == mine.version:
        return "champion already"
    champion = f"version {old.version}, the champion,"
    if metric not in old.tags:
        return f"not compared: {champion} has no {metric}"
    if "classes" in old.tags and old.tags["classes"] != found["classes"]:
        return f"not compared: {champion} draws other classes"
    if any(old.tags.get(key) != str(found[key]) for key in ("judged_by", "images")):
        new, old_count = found["reference_images"], int(old.tags.get("reference_images", 0))
        if new > old_count:
            return f"champion: judged by {new} real images, not {old_count}"
        return f"not compared: {champion} was judged by other images or another classifier"
    value, before = found["value"], float(old.tags[metric])
    verdict = "champion" if beats(better, value, before) else "not better"
    return f"{verdict}: {metric} {value:.6g}, and {before:.6g} of version {old.version}"


def beats(better: str, new: float, old: float) -> bool:
    """Whether `new` is strictly better, as the metric says what better is."""
    if better == "near 1":
        return abs(new - 1) < abs(old - 1)
    return new > old if better == "higher" else new < old


def fetch(model: str) -> Path:
    """The folder with model.safetensors and config.json of a model in a store, in a temporary place.

    model: as `models:/condgen-cgan@champion`, `models:/condgen-cgan/3`, `models:/m-…` or `runs:/…/cgan`.
    None of the code that lies beside the files is run. Raises UserError where there is no such model.
    """
    folder, uri = _download(model), address.readable()
    found = next(iter(sorted(folder.rglob("model.safetensors"))), None)
    if found is None:
        path = Path(uri.removeprefix(SQLITE))
        if uri.startswith(SQLITE) and (old := location.moved_from(path)) is not None:
            raise UserError(f"{model} is not in {old}, where {path} keeps its artifacts: {location.HINT}")
        raise UserError(f"{model} holds no model.safetensors: it is not a model of condgen")
    return found.parent


def report(model: str) -> Path:
    """The report of the pipeline run that made a model, in a temporary place.

    model: an address as `fetch` takes, or `runs:/ID` of any run. Raises UserError where there is none.
    """
    uri = address.readable()
    mlflow.set_tracking_uri(uri)  # Model.load has no parameter for it
    try:
        client, of_run = MlflowClient(uri, uri), re.fullmatch("runs:/([^/]+).*", model)
        run = of_run[1] if of_run else str(Model.load(model).run_id)
        parent = client.get_run(run).data.tags.get("mlflow.parentRunId", run)
        artifacts = client.list_artifacts(parent)
    except Exception as error:
        raise UserError(f"{model} cannot be found in {uri}: {one_line(error)}") from None
    if all(artifact.path != REPORT for artifact in artifacts):
        raise UserError(f"the run that made {model} has no report: its pipeline did not come to it")
    return _download(f"runs:/{parent}/{REPORT}")


def _download(artifact: str) -> Path:
    """An artifact of a store in a temporary place. Raises UserError."""
    uri = address.readable()
    target = tempfile.mkdtemp(prefix="condgen-model-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        mlflow.set_tracking_uri(uri)
        return Path(mlflow.artifacts.download_artifacts(artifact, dst_path=target))
    except Exception as error:
        raise UserError(f"{artifact} cannot be fetched from {uri}: {one_line(error)}") from None
