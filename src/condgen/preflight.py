"""What has to hold before a stage does any work, and how a stage ends.

Importing this module checks the interpreter and the packages, and in a stage starts its courier; `run`
checks all of params.yaml, so that a wrong value in the last stage's section is said before the first stage
trains for minutes.

No output depends on this module, so no stage lists it in its `deps`. It is written in Python that every
interpreter since 2.7 can read: an old one must be able to say that it is too old.
"""

import atexit
import errno
import gc
import os
import sys

MIN_PYTHON = (3, 11)
# import name -> name to install
PACKAGES = {
    "filelock": "filelock",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "mlxtend": "mlxtend",
    "numpy": "numpy",
    "PIL": "pillow",
    "prdc": "prdc",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "threadpoolctl": "threadpoolctl",
    "torch": "torch",
    "torchmetrics": "torchmetrics",
    "torchvision": "torchvision",
    "tqdm": "tqdm",
    "vendi_score": "vendi-score",
    "yaml": "pyyaml",
}
CHECKED = os.path.join(".dvc", "tmp", "condgen-params")  # DVC's folder for what is not worth keeping
WATCH_SECONDS = 0.3  # much less than a new DVC needs to start a stage
# What the machine refuses: no room, or no leave to write or read. No mistake of the code, so no traceback.
REFUSED = ("EACCES", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENOSPC", "EPERM", "EROFS")
HINT = "run 'make repro', or activate the environment that has condgen (pip install -c constraints.txt -e .)"


def problem():
    """One line that says what this interpreter lacks, or None."""
    if sys.version_info < MIN_PYTHON:
        return "needs Python %d.%d or newer, but %s is Python %d.%d: %s" % (
            MIN_PYTHON + (sys.executable,) + tuple(sys.version_info[:2]) + (HINT,)
        )
    from importlib.util import find_spec

    missing = sorted(PACKAGES[name] for name in PACKAGES if find_spec(name) is None)
    if missing:
        return "%s lacks the packages %s: %s" % (sys.executable, ", ".join(missing), HINT)
    return None


def fail(text):
    """Leaves with status 1 and one line on stderr."""
    sys.exit("condgen: " + " ".join(str(text).split()))


def check_params(path):
    """Reads every section of params.yaml; raises UserError on the first wrong value."""
    from condgen import cgan, classifier, cvae, data, download, evaluation, params, sampling
    from condgen.evaluation import champion

    params.check(
        path,
        [
            download.DataParams,
            data.SplitParams,
            classifier.ClassifierParams,
            cvae.CVAEParams,
            cgan.CGANParams,
            sampling.SampleParams,
            evaluation.EvaluateParams,
            champion.RegistryParams,
        ],
    )


def _digest(code):
    """Names params.yaml and the code that reads it by what they hold."""
    import hashlib

    digest = hashlib.sha256()
    for path in ["params.yaml"] + code:
        # Without params.yaml there is nothing to name: its check says so.
        if os.path.isfile(path) and not path.endswith(".pyc"):
            with open(path, "rb") as file:
                digest.update(file.read() + b"\0")
    return digest.hexdigest()


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def _write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass  # no .dvc/tmp yet, or not ours: the next stage checks again


def _sweep():
    """Throws away what killed stages left unfinished."""
    import tempfile

    from condgen import files, pipeline

    files.sweep("data", below=True)
    files.sweep(pipeline.root() / "resume", below=True)
    files.sweep(tempfile.gettempdir())


def _end_with_dvc():
    """Ends this stage, as SIGTERM does, soon after the DVC that runs it is gone.

    Nobody would record what it still writes, and it would write where the next DVC's stage does. Raises
    UserError if DVC is gone by now: a stage's imports take seconds.
    """
    import signal
    import threading
    import time

    from condgen.errors import UserError
    from condgen.tracking import provenance

    dvc = provenance.runner()
    if dvc is None:
        raise UserError("DVC, which ran this stage, is gone: run 'dvc repro' again")

    def watch():
        while provenance.alive(dvc):
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    if dvc.pid != os.getpid():  # not a stage by hand
        thread = threading.Thread(target=watch)
        thread.daemon = True
        thread.start()


def run(main):
    """Runs a stage's `main` in the root of its own checkout; says a UserError in one line.

    Stages use relative paths, so that their files are named alike in every copy of the repository.
    """
    from condgen.errors import UserError

    atexit.register(_freeze)
    package = _enter_checkout()
    try:
        # A check imports every section's code, which takes seconds: one is enough for the same files.
        state = _digest(
            [os.path.join(at, name) for at, _, names in sorted(os.walk(package)) for name in sorted(names)]
        )
        if _read(CHECKED) != state:
            check_params("params.yaml")
            _write(CHECKED, state)
        _sweep()
        _end_with_dvc()  # just before the stage writes
        main()
    except UserError as error:
        fail(error)
    except OSError as error:
        if errno.errorcode.get(error.errno) not in REFUSED:
            raise
        fail("%s: %s" % (error.filename or "a file could not be written", error.strerror))
    except KeyboardInterrupt:
        fail("interrupted")


def _freeze():
    """Spares the end of the interpreter its search for garbage: a second of it, where PyTorch is imported."""
    if "triton" not in sys.modules:  # it would call what was not searched leaked, in 30 lines
        gc.freeze()


def _is_stage():
    """Whether this process is a stage, and not a test or a command that imports one."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path is not None and os.path.basename(os.path.dirname(os.path.abspath(path))) == "stages"


def _enter_checkout():
    """Works in the root of this module's checkout from here on. Returns the package's path."""
    package = os.path.dirname(os.path.abspath(__file__))
    os.chdir(os.path.join(package, "..", ".."))
    return package


_problem = problem()
if _problem is not None:
    fail(_problem)
if _is_stage():
    _enter_checkout()
    from condgen.tracking import courier

    courier.start_ahead()  # it takes seconds, as what a stage imports next does
