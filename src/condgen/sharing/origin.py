"""Where a trained model comes from: the parameters that it was trained with, and what was measured of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from condgen.base import files, params, pipeline
from condgen.base.errors import UserError
from condgen.evaluation.catalog import BY_KEY
from condgen.sampling.generator import Generator

FILE = "origin.json"
MODELS = "data/models"  # where a run has its models
RESULTS = "data/metrics/evaluate.json"
ABOUT = ("data", "classes", "reference", "reference_images", "classifier")


@dataclass(frozen=True)
class Origin:
    """What is known of a model's training.

    Attributes:
        params: the model's own parameters, the seed and the split, with dotted names as in params.yaml.
        results: of data/metrics/evaluate.json what is about this model and about real images; empty if the
            model was not measured.
        recipe: "article" or "best", or empty.
    """

    params: Mapping[str, Any]
    results: Mapping[str, Any]
    recipe: str = ""

    def write(self, folder: Path) -> None:
        files.write_json(folder / FILE, asdict(self))


def known(params: Mapping[str, Any], results: Mapping[str, Any] | None, name: str) -> Origin:
    """The origin of a model from the parameters and the results of its run."""
    wanted = {key: v for key, v in params.items() if key == "seed" or key.startswith((f"{name}.", "split."))}
    return Origin(wanted, _about(results, name) if results else {})


def find(folder: Path, model: Generator) -> Origin:
    """The origin of the model in a folder: from its own file, or from the dvc.lock of the run that it is in.

    Empty where neither is there. Numbers are given only if dvc.lock says that they are of this model.
    Raises UserError if a file is damaged.
    """
    if (folder / FILE).is_file():
        content = files.read_json(folder / FILE)
        try:
            found = Origin(dict(content["params"]), dict(content["results"]), str(content["recipe"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / FILE} is damaged ({error!r})") from None
        lacking = {*ABOUT, model.name, "real", "intervals", "sizes"} - found.results.keys()
        if found.results and lacking:
            raise UserError(f"{folder / FILE} is damaged: its results lack {', '.join(sorted(lacking))}")
        return found
    root = folder.resolve().parents[2] if len(folder.resolve().parents) > 2 else folder
    if folder.resolve() != root / MODELS / model.name or not (root / "dvc.lock").is_file():
        return Origin({}, {})
    return _of_run(root, model.name)


def _of_run(root: Path, name: str) -> Origin:
    """From dvc.lock, which says by MD5 what each stage read and wrote."""
    stages = params.load(root / "dvc.lock").get("stages", {})

    def md5(stage: str, kind: str, path: str) -> str | None:
        return next((e["md5"] for e in stages.get(stage, {}).get(kind, []) if e["path"] == path), None)

    train, path, samples = f"train_{name}", f"{MODELS}/{name}", f"data/samples/{name}.npz"
    if md5(train, "outs", path) != _folder_md5(root / path):
        return Origin({}, {})  # trained since, or by other means
    trained = params.dotted(stages[train]["params"]["params.yaml"])
    measured = (
        md5("sample", "deps", path) == md5(train, "outs", path)
        and md5("evaluate", "deps", samples) == md5("sample", "outs", samples)
        and (root / RESULTS).is_file()
        and md5("evaluate", "outs", RESULTS) == pipeline.md5(root / RESULTS)
    )
    return known(trained, files.read_json(root / RESULTS) if measured else None, name)


def _folder_md5(folder: Path) -> str:
    """A folder's MD5 as DVC computes it: that of a JSON list of its files with their MD5s."""
    found = sorted((f.relative_to(folder).as_posix(), f) for f in folder.rglob("*") if f.is_file())
    listed = json.dumps([{"md5": pipeline.md5(file), "relpath": name} for name, file in found])
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _about(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The results that a card shows: without the other model, classes one by one, and claims."""
    found: dict[str, Any] = {key: results[key] for key in ABOUT}
    for part in (name, "real"):
        found[part] = {key: value for key, value in results[part].items() if key in BY_KEY}
        for around in ("intervals", "sizes"):
            known = results[around].get(part, {})
            found.setdefault(around, {})[part] = {k: known[k] for k in known if k in BY_KEY and known[k]}
    return found
