"""Checks before a stage does any work, and how a stage ends.

A stage calls `prepare` before it imports PyTorch, and then `run`, which checks all of params.yaml: a wrong
value in the last stage's section is reported before the first stage trains for minutes. No output depends on
this module, so no stage lists it in its `deps`. It imports only the standard library, because packages may be
missing.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

MIN_PYTHON = (3, 11)  # as in pyproject.toml; Python 3.8 and later can import this module, to report it
CHECKOUT = Path(__file__).resolve().parents[2]
WATCH_SECONDS = 0.3  # much less than a new DVC needs to start a stage
# Errors of the machine, such as a full disk or a missing permission: not bugs, so no traceback.
REFUSED = ("EACCES", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENOSPC", "EPERM", "EROFS")
HINT = "run 'make repro', or activate the environment that has condgen (pip install -c constraints.txt -e .)"


# Turns that OpenMP's threads spin before they sleep (libgomp, in PyTorch's wheels for Linux). Its default is
# 300,000: if other processes use the same cores, a step waits for a thread that cannot run. None (passive)
# would cost more on a quiet machine. Measured by `make bench` (docs/speed.md).
WAITING = {"GOMP_SPINCOUNT": "1000"}

# With these, OpenMP starts fewer threads than PyTorch asks for.
FEWER = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS")


def prepare() -> None:
    """Checks that this Python has condgen's packages, and sets how OpenMP's threads wait.

    Exits with one line on stderr if this Python is too old or lacks a package. Ctrl-C is one line, too, while
    the stage imports its packages, before `run`.
    """
    traceback = sys.excepthook

    def hook(kind: type[BaseException], *rest: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("condgen: interrupted", file=sys.stderr)
        else:
            traceback(kind, *rest)

    sys.excepthook = hook
    if sys.version_info < MIN_PYTHON:
        needed, found = (".".join(map(str, version[:2])) for version in (MIN_PYTHON, sys.version_info))
        fail(f"needs Python {needed} or newer, but {sys.executable} is Python {found}: {HINT}")
    configure_threads()
    missing = missing_packages()
    if missing:
        fail(f"{sys.executable} lacks the packages {', '.join(missing)}: {HINT}")


def configure_threads() -> None:
    """Sets how OpenMP starts threads and how they wait. Call it before PyTorch is imported.

    oneDNN waits for as many threads as PyTorch asks for: for ever, if OpenMP starts fewer. So a limit only
    sets the default number of threads; that of params.yaml goes before it, as before OMP_NUM_THREADS.
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # a choice of the user's
        os.environ.update(WAITING | os.environ)
    fewer = [name for name in FEWER if os.environ.get(name, "false").lower() != "false"]
    if not fewer:
        return
    if limit := os.environ.get("OMP_THREAD_LIMIT"):
        os.environ.setdefault("OMP_NUM_THREADS", limit)
    for name in fewer:
        del os.environ[name]
    said = f"condgen: {', '.join(fewer)}: not used, because PyTorch would wait for ever for missing threads"
    print(said, file=sys.stderr, flush=True)


def missing_packages() -> list[str]:
    """The dependencies of condgen, as in pyproject.toml, that this Python lacks."""
    try:
        wanted = metadata.requires("condgen") or []
    except metadata.PackageNotFoundError:
        return ["condgen"]
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted if "extra ==" not in line]
    return sorted(name for name in names if not _installed(name))


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def fail(text: object) -> None:
    """Exits with status 1 and one line on stderr."""
    sys.exit("condgen: " + " ".join(str(text).split()))


def check_params(path: str, changed: Mapping[str, Any] | None = None) -> None:
    """Checks every section of params.yaml; raises UserError on the first wrong value.

    changed: the content to check instead of the file's; messages call it `path`.
    """
    from condgen.base import params
    from condgen.datasets import data, download
    from condgen.evaluation.params import EvaluateParams, RegistryParams
    from condgen.models import MODELS, classifier
    from condgen.sampling import latent

    models = [model.module.Params for model in MODELS.values()]
    sections = [download.DataParams, data.SplitParams, classifier.ClassifierParams, *models]
    content = params.load(path) if changed is None else dict(changed)
    params.check(content, path, [*sections, latent.SampleParams, EvaluateParams, RegistryParams])


def run(main: Callable[[], object]) -> None:
    """Runs a stage's `main` in the root of its checkout; prints a UserError in one line.

    Stages use relative paths, so that paths are the same in every copy of the repository.
    """
    from condgen.base.errors import UserError

    os.chdir(CHECKOUT)
    try:
        _check()
        _sweep()
        _end_with_dvc()  # just before the stage writes
        main()
    except UserError as error:
        fail(error)
    except OSError as error:
        if errno.errorcode.get(error.errno or 0) not in REFUSED:
            raise
        fail(f"{error.filename or 'a file could not be written'}: {error.strerror}")
    except KeyboardInterrupt:
        fail("interrupted")


def _check() -> None:
    from condgen.base.errors import UserError

    try:
        check_params("params.yaml")
    except UserError as error:
        if "DVC_STAGE" not in os.environ:
            raise
        # DVC removes a stage's results before it starts it.
        raise UserError(f"{error}; correct it, then 'dvc checkout' brings back what DVC removed") from None


def _sweep() -> None:
    """Deletes the unfinished files of killed stages."""
    import tempfile

    from condgen.base import files, pipeline

    files.sweep("data", below=True)
    files.sweep(pipeline.root() / "resume", below=True)
    files.sweep(tempfile.gettempdir())


def _end_with_dvc() -> None:
    """Ends this stage by SIGTERM soon after the DVC that runs it has ended.

    DVC would not record its results, and the next DVC's stage writes to the same files. Raises UserError if
    DVC has already ended, because a stage's imports take seconds.
    """
    import signal
    import threading
    import time

    from condgen.base import process
    from condgen.base.errors import UserError

    dvc = process.runner()
    if dvc is None:
        raise UserError("the DVC that ran this stage has ended: run 'dvc repro' again")

    def watch() -> None:
        while process.running(dvc):
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    if dvc.pid != os.getpid():  # the stage was not started by hand
        threading.Thread(target=watch, daemon=True).start()
