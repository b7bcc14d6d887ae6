"""The pipeline as dvc.yaml declares it: what each stage reads and writes, and which code it runs.

DVC does not follow imports, so a stage's `deps` name its code. The same list says which code made a result:
in the key of a checkpoint, in the `code` tag of a run, and when runs are pooled.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from condgen.base import params
from condgen.base.errors import UserError

DATA = "data/"  # deps below it are results of other stages; all others are code
COMMITTED = "must be as it was committed: 'git checkout dvc.yaml'"
Stages = Mapping[str, Mapping[str, Any]]
"""Stage -> its entry in dvc.yaml."""


def root() -> Path:
    """The root of the real repository, also from within a temporary copy that `dvc exp run --temp` made."""
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"]).resolve()
    here = Path.cwd().resolve()
    # From elsewhere, the checkout that this package was installed from (pip install -e), if it was.
    places = (here, *here.parents, *Path(__file__).resolve().parents)
    return next((folder for folder in places if (folder / "dvc.yaml").is_file()), here)


def stages() -> Stages:
    """The stages of dvc.yaml in the working directory. Raises UserError if it cannot be read."""
    found = params.load("dvc.yaml").get("stages")
    if not isinstance(found, dict) or not all(isinstance(spec, dict) for spec in found.values()):
        raise UserError(f"dvc.yaml has no stages, but {COMMITTED}")
    return found


def stage(name: str) -> Mapping[str, Any]:
    """One stage of dvc.yaml. Raises UserError if there is no such stage."""
    found = stages()
    if name not in found:
        raise UserError(f"dvc.yaml has no stage {name}, but {COMMITTED}")
    return found[name]


def code(*specs: Mapping[str, Any]) -> dict[str, str]:
    """Code file -> MD5, for all files that the `deps` of these stages name, directly or by folder.

    Paths are relative to the working directory, so they are the same in every copy of the repository.
    """
    deps = {dep for spec in specs for dep in spec.get("deps", []) if not dep.startswith(DATA)}
    return {path.as_posix(): md5(path) for path in _files(sorted(deps)) if path.parent.name != "__pycache__"}


def code_digest(*specs: Mapping[str, Any]) -> str:
    """A short hash of the code of these stages: eight hexadecimal digits."""
    parts = "\n".join(f"{path} {digest}" for path, digest in sorted(code(*specs).items()))
    return hashlib.md5(parts.encode(), usedforsecurity=False).hexdigest()[:8]


def outs(spec: Mapping[str, Any]) -> list[str]:
    """The paths that a stage writes, metrics included."""
    entries = [entry for kind in ("outs", "metrics") for entry in spec.get(kind, [])]
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def data_hashes(paths: Iterable[str]) -> dict[str, str]:
    """File below data/ -> its MD5, as in dvc.lock; for a folder, each file in it."""
    return {path.as_posix(): md5(path) for path in _files(p for p in paths if p.startswith(DATA))}


def maker(path: str, stages: Stages) -> str | None:
    """The stage that writes a file, or None."""
    for name, spec in stages.items():
        if any(path == out or path.startswith(out + "/") for out in outs(spec)):
            return name
    return None


def md5(path: Path) -> str:
    """A file's MD5, as in dvc.lock."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _files(paths: Iterable[str]) -> list[Path]:
    """These files, and the files in these folders, in order."""
    found = [Path(path) for path in paths]
    each = [f for path in found for f in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [f for f in each if f.is_file()]
