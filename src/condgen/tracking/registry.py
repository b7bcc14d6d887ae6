"""The model registry: every trained model is a version, and the best of them is the champion.

MLflow resolves the alias `latest` by itself (it may not be set); `champion` is moved here.
"""

import atexit
import contextlib
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from condgen.base.errors import UserError
from condgen.tracking.address import address as tracking_address
from condgen.tracking.address import hidden, line
from condgen.tracking.store import Store, use

CHAMPION = "champion"


def registered_name(model: str) -> str:
    return f"condgen-{model}"


def register(store: Store, model: str, about: str, model_id: str, run: str, md5: str) -> None:
    """A logged model becomes the latest version of its name, once. md5: of its model.safetensors."""
    name = registered_name(model)
    if not any(v.run_id == run for v in versions(store, name, md5)):
        # It says on stderr, at length, what it did.
        with contextlib.redirect_stderr(io.StringIO()):
            mlflow.register_model(f"models:/{model_id}", name, tags={"md5": md5})
    if not store.client.get_registered_model(name).description:
        store.client.update_registered_model(name, description=about)


def versions(store: Store, name: str, md5: str) -> list[ModelVersion]:
    """Versions that hold a model.safetensors with this MD5, the newest first."""
    found = store.client.search_model_versions(f"name = '{name}' AND tags.md5 = '{md5}'")
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def promote_if_better(
    store: Store, model: str, md5: str, metric: str, better: str, found: dict[str, Any]
) -> str:
    """Gives a model's version its result, and the alias `champion` if it is the best so far.

    better: "higher", "lower" or "near 1". found: `value`, `images`, `reference_images`, and `judged_by`,
    which names the real images and the classifier that judged. Results of other judges do not compare, so a
    champion stays, unless the new one met more real images (the full test set after the bundled one).

    Returns what became of it, in words.
    """
    name = registered_name(model)
    mine = next(iter(versions(store, name, md5)), None)
    if mine is None:
        return f"no version of {name} holds these bytes"
    for key, value in ({metric: found["value"]} | {k: v for k, v in found.items() if k != "value"}).items():
        store.client.set_model_version_tag(name, mine.version, key, str(value))
    try:
        old = store.client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise  # not knowing the champion is no reason to make another
        old = None
    verdict = _verdict(old, mine, metric, better, found)
    if verdict.startswith("champion"):
        store.client.set_registered_model_alias(name, CHAMPION, mine.version)
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


def fetch(address: str) -> Path:
    """The folder with model.safetensors and config.json of a model in a store, in a temporary place.

    address: as `models:/condgen-cgan@champion`, `models:/condgen-cgan/3`, `models:/m-…` or `runs:/…/cgan`.
    None of the code that lies beside the files is run. Raises UserError where there is no such model.
    """
    use(tracking_address())
    target = tempfile.mkdtemp(prefix="condgen-model-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=target))
    except Exception as error:
        shown = hidden(tracking_address())
        raise UserError(f"{address} is no model that can be had from {shown}: {line(error)}") from None
    found = next(iter(sorted(folder.rglob("model.safetensors"))), None)
    if found is None:
        raise UserError(f"{address} holds no model.safetensors: it is not a model of condgen")
    return found.parent
