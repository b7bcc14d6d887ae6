"""The default DVC remote: whether this machine reaches it and may write there."""

import os
import secrets
from pathlib import Path
from typing import Any

import requests

from condgen.base.errors import UserError, one_line, without_secrets
from condgen.tracking.health import SECONDS, Unusable

ADD = "dvc remote add -d NAME ADDRESS (docs/team.md)"


def check(root: Path) -> str:
    """What was seen, in words. Raises Unusable. A file of a few bytes is written and removed."""
    # DVC has no command that asks whether a remote can be written; this is what its commands call.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            found = repo.cloud.get_remote(command="push")
            url = without_secrets(str(repo.config["remote"][found.name].get("url", found.path)))
            _write(found.fs, found.path, url)
    except Unusable:
        raise
    except DvcException as error:
        if "no remote" in str(error):
            raise Unusable("there is no default remote", ADD) from None
        raise Unusable(one_line(error), ADD) from None
    return f"{url}: reached, may write"


def _write(fs: Any, path: str, url: str) -> None:
    if fs.protocol in ("http", "https"):
        try:
            requests.head(url, timeout=SECONDS)
        except requests.RequestException:
            raise Unusable(f"{url} cannot be reached", "start the server, or correct its address") from None
        do = "'dvc pull' works; to push, add a remote of another kind (docs/team.md)"
        raise Unusable(f"{url}: reached, but plain HTTP cannot be written", do)
    if fs.protocol == "local":
        place = next(folder for folder in (Path(path), *Path(path).parents) if folder.exists())
        if not os.access(place, os.W_OK):
            raise Unusable(f"{place} cannot be written", "give yourself the right to, or mount it")
        return
    target = fs.join(path, f"condgen-doctor-{secrets.token_hex(6)}")
    try:
        # An object store has no folders, only a bucket.
        if fs.protocol in ("ssh", "sftp", "webdav", "webdavs", "hdfs", "webhdfs") and not fs.exists(path):
            raise Unusable(f"{url} does not exist", "make the folder, or correct its address")
        fs.pipe_file(target, b"condgen doctor\n")
        fs.rm_file(target)
    except (Unusable, UserError):
        raise
    except Exception as error:  # every kind of store has its own
        do = "is it up, is there such a bucket, and is the login in the environment?"
        raise Unusable(f"{url} cannot be written: {one_line(error)}", do) from None
