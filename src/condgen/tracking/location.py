"""Where a data base has its artifacts: MLflow stores absolute addresses, so a copy uses its original's."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

from condgen.base.errors import UserError

ARTIFACTS = "mlartifacts"  # the folder beside a data base
HINT = "if it was copied or moved with its artifacts, run 'condgen relocate', then 'condgen deliver'"
# All addresses of artifacts that MLflow 3.17 stores: table, column.
COLUMNS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
]


def moved_from(path: Path) -> Path | None:
    """The artifact folder that a data base has from the place where it was before it was copied or moved.

    None: its artifacts are beside it, or in a place that somebody else has chosen.
    """
    if not path.is_file():
        return None
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        for (address,) in db.execute("SELECT artifact_location FROM experiments"):
            old = Path(unquote(address.removeprefix("file://")))
            ours = address.startswith("file://") and old.name == ARTIFACTS
            if ours and old.resolve() != path.resolve().with_name(ARTIFACTS):
                return old
    return None


def relocate(path: Path) -> str:
    """Makes all runs and models of a copied or moved data base find their artifacts beside it.

    Returns what was done. Raises UserError if no artifacts are there.
    """
    new, old = path.resolve().with_name(ARTIFACTS), moved_from(path)
    if old is None:
        return f"{path} needs nothing: its artifacts are where it expects them"
    if not new.is_dir():
        raise UserError(f"{new} does not exist: copy {old} to it first")
    before, after = old.as_uri(), new.as_uri()
    with closing(sqlite3.connect(path, timeout=60)) as db, db:  # all or nothing
        for table, column in COLUMNS:
            db.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE substr({column} || '/', 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, before + "/"),
            )
    return f"{path} now has its artifacts in {new}, no longer in {old}"
