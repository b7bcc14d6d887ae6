"""The data set that `data.dataset` names in the folder data/sets: what the stage `download` writes.

There a name is a small YAML file that describes a set of torchvision's, a folder of pictures, or an npz file.
DVC hashes what the name stands for, so its content decides whether anything runs again.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from condgen.base import params
from condgen.base.errors import UserError, one_line
from condgen.datasets import arrange, checks, download, folder, npz, resize
from condgen.datasets.download import DataParams

SETS = Path("data/sets")  # in the working directory, as all that DVC keeps
TORCHVISION = Path("data/torchvision")  # in the real repository, shared by its temporary copies
LARGEST = 2**16  # bytes of a description
OWN = (
    "copy a folder of pictures there and track it ('dvc add data/sets/pictures'), "
    "or link it there ('ln -s /path/to/pictures data/sets/pictures')"
)


class Known(BaseModel):
    """A file in data/sets that describes one of torchvision's data sets.

    Attributes:
        torchvision: The class's name in torchvision.datasets.
        classes: The classes' names, in the order of torchvision's labels.
        train, test: The arguments that give either part.
        first_label: torchvision's label of the first class.
        transposed: Rows and columns are exchanged in torchvision's images.
        files: Where below data/torchvision the files belong, and where they come from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    torchvision: str
    classes: list[str]
    train: dict[str, str | bool] = {"train": True}
    test: dict[str, str | bool] = {"train": False}
    first_label: int = Field(default=0, ge=0)
    transposed: bool = False
    files: dict[str, str] = {}


def get(p: DataParams, root: Path, mirror: str | None = None, sets: Path = SETS) -> dict[str, np.ndarray]:
    """The data set that the parameters name, each image brought to `p.side` and `p.channels`.

    Returns x_train, x_test: uint8 `[n, side, side]`, or `[n, side, side, 3]` for 3 channels; y_train, y_test:
    uint8 `[n]`; classes: their names, `[classes]`; source: a sentence that names the images.
    `mirror`: see `download.get`.
    Raises UserError if there is no such set, or if an image or a label of it cannot be used.
    """
    path = _path(p.dataset, sets)
    if not path.is_dir() and path.suffix != ".npz":
        return _known(path, p, root, mirror)
    if p.source == "bundled":
        raise download.not_bundled(p.dataset)
    return _folder(path, p) if path.is_dir() else _npz(path, p)


def describe(path: Path) -> Known:
    """The description of a data set of torchvision's. Raises UserError."""
    if path.stat().st_size > LARGEST:
        raise UserError(
            f"{path} must be a folder, an npz file, or a description of at most {LARGEST // 1024} kB"
        )
    content = params.load(path)
    try:
        known = Known.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(one_line(part) for part in first["loc"][:2])
        keys = ", ".join(Known.model_fields)
        raise UserError(f"{path}: {key}: {first['msg']} (the keys are {keys})") from None
    checks.classes(known.classes, path, "a name for each label")
    return known


def _path(name: str, sets: Path) -> Path:
    """The file or folder that a name stands for. Raises UserError with the names there are."""
    parts = name.split("/")  # an absolute name begins with an empty part
    path = sets / name
    inside = name.isprintable() and not any(part == "" or part.startswith(".") for part in parts)
    if inside and Path(f"{path}.dvc").is_file() and not path.exists():
        raise UserError(f"{path} is tracked by DVC, but not in this checkout: 'dvc pull {path}'")
    if not inside or not (path.is_file() or (path.is_dir() and not _within(path))):
        there = ", ".join(_names(sets)) or "nothing"
        raise UserError(f"data.dataset is {name!r}, but must be one of what {sets} holds ({there}): {OWN}")
    return path


def _names(sets: Path) -> list[str]:
    """What `data.dataset` may be."""
    found = []
    for path in sorted(sets.glob("*")):
        if path.name.startswith(".") or path.suffix == ".dvc" or not path.exists():
            continue
        within = _within(path) if path.is_dir() else []
        found += [f"{path.name}/{name}" for name in within] or [path.name]
    return found[:40]


def _within(path: Path) -> list[str]:
    """The sets in a folder that is none itself, such as EMNIST, which has a description for each split."""
    shown = [at for at in path.iterdir() if not at.name.startswith(".")]
    if any(at.is_dir() for at in shown):
        return []
    return sorted(at.name for at in shown if at.suffix in ("", ".npz"))


def _folder(path: Path, p: DataParams) -> dict[str, np.ndarray]:
    """Pictures; the order is chosen first, so that each is read into its place."""
    classes, train, test = folder.find(path)
    checks.counts(train.y, classes, path)
    if test is None:
        kept, held = _hold_out(train.y, p, classes, path)
        train, test = train.take(kept), train.take(held)
    train, test = train.take(arrange.order(train.y)), test.take(arrange.order(test.y))
    x_train, bad = folder.read(train, p.side, p.channels)
    x_test, more = folder.read(test, p.side, p.channels)
    folder.refuse(bad + more, len(train.files) + len(test.files))
    return _own(p, x_train, train.y, x_test, test.y, classes)


def _npz(path: Path, p: DataParams) -> dict[str, np.ndarray]:
    """Each image is written to its place; without a test part, one array holds both parts."""
    classes, y_train, y_test = npz.labels(path)
    checks.counts(y_train, classes, path)
    if y_test is None:
        train, test = _hold_out(y_train, p, classes, path)
        train, test = train[arrange.order(y_train[train])], test[arrange.order(y_train[test])]
        y = y_train[np.concatenate([train, test])]
        x = _placed(path, "x_train", np.concatenate([train, test]), p)
        cut = len(train)
        return _own(p, x[:cut], y[:cut], x[cut:], y[cut:], classes)
    train, test = arrange.order(y_train), arrange.order(y_test)
    x_train, x_test = _placed(path, "x_train", train, p), _placed(path, "x_test", test, p)
    return _own(p, x_train, y_train[train], x_test, y_test[test], classes)


def _placed(path: Path, name: str, order: np.ndarray, p: DataParams) -> np.ndarray:
    """The images of an array of an npz file in an order `[n]`, as `array[order]` is."""
    return resize.stack(npz.images(path, name, len(order)), np.argsort(order), p.side, p.channels)


def _hold_out(y: np.ndarray, p: DataParams, classes: list[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    train, test = arrange.hold_out(y, p.test_share)
    if not len(test):
        raise UserError(
            f"{path} has one picture of each class: without a test part, a class must have 2 or more"
        )
    checks.counts(y[train], classes, path)
    return train, test


def _own(
    p: DataParams,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    classes: list[str],
) -> dict[str, np.ndarray]:
    source = f"{p.dataset}, {len(y_train):,} images to train and {len(y_test):,} to test"
    return {
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y_test,
        "classes": np.array(classes),
        "source": np.array(source),
    }


def _known(path: Path, p: DataParams, root: Path, mirror: str | None) -> dict[str, np.ndarray]:
    known = describe(path)
    if known.torchvision in download.MIRRORED:
        arrays = download.get(known.torchvision, p, root, mirror)
        for name in ("x_train", "x_test"):
            x = arrays[name]
            if (p.side, p.channels) != (x.shape[1], 1):
                arrays[name] = resize.stack(map(Image.fromarray, x), np.arange(len(x)), p.side, p.channels)
    else:
        if p.source == "bundled":
            raise download.not_bundled(p.dataset)
        arrays = _torchvision(path, known, p, root)
    for name in ("y_train", "y_test"):
        highest = int(arrays[name].max())
        if highest >= len(known.classes):
            raise UserError(f"{path} names {len(known.classes)} classes, but {name} holds {highest}")
    checks.counts(arrays["y_train"], known.classes, path)
    source = arrays.pop("source")
    return arrays | {"classes": np.array(known.classes), "source": source}


def _torchvision(path: Path, known: Known, p: DataParams, root: Path) -> dict[str, np.ndarray]:
    """A set that torchvision downloads and checks itself."""
    from torchvision import datasets

    kind = getattr(datasets, known.torchvision, None)
    if not (isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)):
        raise UserError(f"{path}: torchvision has no data set {known.torchvision}")
    arrays: dict[str, np.ndarray] = {}
    for part, arguments in (("train", known.train), ("test", known.test)):
        try:
            with _patience(p.timeout):
                held: Any = kind(str(root / TORCHVISION), download=True, **arguments)
        except Exception as error:  # of urllib, zipfile, torchvision (RuntimeError), ...
            files = ", ".join(f"{TORCHVISION}/{at} from {url}" for at, url in known.files.items())
            raise UserError(
                f"torchvision cannot get {known.torchvision} ({one_line(error, 200)}): "
                f"without a network, put there {files or 'its files'}"
            ) from None
        y = np.empty(len(held), np.int64)
        try:
            arrays[f"x_{part}"] = resize.stack(
                _upright(held, y, known), np.arange(len(y)), p.side, p.channels
            )
        except UserError:
            raise
        except Exception as error:  # some sets open their files only now, and some labels are no numbers
            raise UserError(f"{path}: {known.torchvision} cannot be read: {one_line(error, 200)}") from None
        if y.min() < 0 or y.max() > 255:
            raise UserError(
                f"{path}: labels are {y.min()} to {y.max()} after first_label, but must be 0 to 255"
            )
        arrays[f"y_{part}"] = y.astype(np.uint8)
    rows = arrange.order(arrays["y_train"])  # some sets are sorted by class
    arrays["x_train"], arrays["y_train"] = arrays["x_train"][rows], arrays["y_train"][rows]
    total = len(arrays["y_train"]) + len(arrays["y_test"])
    return arrays | {"source": np.array(f"{p.dataset}, all {total:,} images")}


def _upright(held: Any, y: np.ndarray, known: Known) -> Iterator[Image.Image]:
    """A data set's pictures one by one; writes their labels, from 0, to `y` `[n]`."""
    for i in range(len(y)):
        image, label = held[i]
        y[i] = int(label) - known.first_label
        yield image.transpose(Image.Transpose.TRANSPOSE) if known.transposed else image


@contextmanager
def _patience(timeout: float) -> Iterator[None]:
    """torchvision takes no time-out; the default one of new sockets is restored afterwards."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
