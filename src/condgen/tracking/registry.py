"""The model registry: every trained model is a version, and the best of them is the champion.

MLflow resolves the alias `latest` by itself (it may not be set); `champion` is moved here.
"""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from condgen.base.errors import UserError
from condgen.tracking import address
from condgen.tracking.store import Store

CHAMPION = "champion"


def registered_name(model: str) -> str:
    return f"condgen-{model}"


def register(client: MlflowClient, model: LoggedModel, about: str, md5: str) -> None:
    """A logged model becomes the latest version of its name, once. md5: of its model.safetensors."""
    name, run = registered_name(model.name), model.source_run_id
    try:
        client.create_registered_model(name, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if not client.search_model_versions(f"name = '{name}' AND run_id = '{run}'"):
        location, tags = model.artifact_location, {"md5": md5}
        client.create_model_version(name, location, run, tags, model_id=model.model_id)


def promote_if_better(
    store: Store, model: str, md5: str, metric: str, better: str, found: dict[str, Any]
) -> str:
    """Gives a model's version its result, and the alias `champion` if it is the best so far.

    better: "higher", "lower" or "near 1". found: `value`, `images`, `reference_images`, and `judged_by`,
    which names the real images and the classifier. Results of other judges do not compare, so a champion
    stays, unless the new one was judged by more real images (the full test set after the bundled one).

    Returns what became of it, in words.
    """
    name, client = registered_name(model), store.client
    versions = client.search_model_versions(f"name = '{name}' AND tags.md5 = '{md5}'")
    if not versions:
        return f"no version of {name} holds these bytes"
    mine = max(versions, key=lambda version: int(version.version))
    result = {metric: found["value"]} | {key: found[key] for key in ("images", "reference_images", "judged_by")}
    for key, value in result.items():
        client.set_model_version_tag(name, mine.version, key, str(value))
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
    before = old.tags.get(metric)
    if before is None:
        return f"not compared: the champion, version {old.version}, has no {metric}"
    references = int(old.tags.get("reference_images", 0))
    if old.tags.get("judged_by") != found["judged_by"] or old.tags.get("images") != str(found["images"]):
        if found["reference_images"] > references:
            return f"champion: judged by {found['reference_images']} real images, not {references}"
        return (
            f"not compared: version {old.version}, the champion, was judged by other images or another judge"
        )
    told = f"{metric} {found['value']:.6g}, and {float(before):.6g} of version {old.version}"
    return f"champion: {told}" if beats(better, found["value"], float(before)) else f"not better: {told}"


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
    uri = address.address()
    target = tempfile.mkdtemp(prefix="condgen-model-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        mlflow.set_tracking_uri(uri)
        folder = Path(mlflow.artifacts.download_artifacts(model, dst_path=target))
    except Exception as error:
        why = address.line(error)
        raise UserError(f"{model} cannot be fetched from {address.hidden(uri)}: {why}") from None
    found = next(iter(sorted(folder.rglob("model.safetensors"))), None)
    if found is None:
        raise UserError(f"{model} holds no model.safetensors: it is not a model of condgen")
    return found.parent
