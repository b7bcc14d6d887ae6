"""What `data.dataset` names: a folder of pictures, an npz file, or a description of torchvision's sets."""

import hashlib
import io
import os
import re
import socket
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets

from condgen.base import files, params
from condgen.base.errors import UserError
from condgen.datasets import data, download, sets

# Helpers


@pytest.fixture
def here(tmp_path):
    """A folder data/sets without sets."""
    folder = tmp_path / "data/sets"
    folder.mkdir(parents=True)
    return folder


def get(here, name="own", root=None, **changes):
    """The set of a name, in a size that is quick to compare."""
    values = {"dataset": name, "source": "auto", "timeout": 1, "side": 8, "channels": 1, "test_share": 0.2}
    return sets.get(download.DataParams(**values | changes), root or here.parents[1], sets=here)


def grey(level, side=8):
    return Image.new("L", (side, side), level)


def picture(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def pictures(folder, **counts):
    """A class's i-th picture has the grey level 50 * class + i, so that an image tells where it is from."""
    for label, (name, n) in enumerate(counts.items()):
        for i in range(n):
            picture(folder / name / f"{i}.png", grey(50 * label + i))


def levels(x):
    return [int(image.flat[0]) for image in x]


def bytes_of(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(here, *said, **changes):
    """The one line with which a set is refused."""
    with pytest.raises(UserError) as caught:
        get(here, **changes)
    line = str(caught.value)
    assert line.splitlines() == [line]
    for text in said:
        assert text in line
    return line


# A folder of pictures


def test_a_sub_folder_is_a_class_and_each_image_keeps_its_label(here):
    pictures(here / "own", b=10, a=5, c=3)
    arrays = get(here)
    assert arrays["classes"].tolist() == ["a", "b", "c"], "sorted by name"
    assert str(arrays["source"]) == "own, 14 images to train and 4 to test"
    for part, counts in (("train", [4, 8, 2]), ("test", [1, 2, 1])):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        assert (x.dtype, y.dtype, x.shape[1:]) == (np.uint8, np.uint8, (8, 8))
        assert np.bincount(y).tolist() == counts
        by_label = {0: range(50, 55), 1: range(10), 2: range(100, 103)}
        assert all(level in by_label[label] for level, label in zip(levels(x), y, strict=True))
    both = levels(arrays["x_train"]) + levels(arrays["x_test"])
    assert sorted(both) == [*range(10), *range(50, 55), *range(100, 103)]
    assert download.summary(arrays) == {
        "data": "own, 14 images to train and 4 to test", "train_images": 14, "test_images": 4,
        "classes": 3, "rarest_class_images": 2, "side": 8, "channels": 1,
    }  # fmt: skip


def test_the_folders_train_and_test_are_the_two_parts(here):
    pictures(here / "own/train", a=8, b=4)
    pictures(here / "own/test", a=2)
    (here / "own/test/b").mkdir()
    arrays = get(here)
    assert arrays["classes"].tolist() == ["a", "b"]
    assert sorted(levels(arrays["x_train"])) == [*range(8), *range(50, 54)]
    assert sorted(levels(arrays["x_test"])) == [0, 1]
    assert arrays["y_test"].tolist() == [0, 0], "a class may be missing from test"


def test_the_first_tenth_is_stratified(here):
    pictures(here / "own/train", a=40, b=20)
    pictures(here / "own/test", a=1)
    assert np.bincount(get(here)["y_train"][:6]).tolist() == [4, 2]


def test_the_order_does_not_depend_on_the_file_system(here, monkeypatch):
    pictures(here / "own", a=9, b=9)
    picture(here / "own/a/deeper/x.png", grey(9))
    first = get(here)
    walk, scan = os.walk, type(here).iterdir

    def reversed_walk(*args, **options):
        for at, folders, names in walk(*args, **options):
            folders.reverse()
            yield at, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", reversed_walk)
    monkeypatch.setattr(type(here), "iterdir", lambda path: iter(sorted(scan(path), reverse=True)))
    again = get(here)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_pictures_lie_at_any_depth_and_what_is_no_picture_is_counted(here, capsys):
    pictures(here / "own", a=6, b=5)
    picture(here / "own/a/2019/may/x.PNG", grey(40))
    for name in ("a/notes.txt", "a/2019/list.txt", "b/.x.png", "b/raw", "readme.md", ".DS_Store"):
        (here / "own" / name).write_text("no picture")
    picture(here / "own/.cache/y.png", grey(41))
    picture(here / "own/a/.cache/y.png", grey(41))
    arrays = get(here)
    both = levels(arrays["x_train"]) + levels(arrays["x_test"])
    assert sorted(both) == [*range(6), 40, *range(50, 55)]
    out = capsys.readouterr().out
    said = "ignored 6 files: 2 .txt, 2 hidden, 1 outside the classes' folders, 1 without a suffix"
    assert said in out


def test_a_folder_may_be_a_link_and_links_in_it_are_followed_once(here, tmp_path):
    pictures(tmp_path / "elsewhere", a=8, b=7)
    (here / "own").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/a/loop").symlink_to(tmp_path / "elsewhere/a")
    pictures(tmp_path / "more", x=2)
    (tmp_path / "elsewhere/b/more").symlink_to(tmp_path / "more/x")
    arrays = get(here)
    assert len(arrays["y_train"]) + len(arrays["y_test"]) == 17


def test_colour_stays_colour_and_grey_is_pillows(here):
    for i in range(6):
        picture(here / f"own/a/{i}.png", Image.new("RGB", (8, 8), (200, 10, i)))
        picture(here / f"own/b/{i}.bmp", Image.new("RGB", (30, 8), (10, i, 200)))
    arrays = get(here, channels=3)
    assert arrays["x_train"].shape == (10, 8, 8, 3)
    assert download.summary(arrays)["channels"] == 3
    for x, y in zip(arrays["x_train"], arrays["y_train"], strict=True):
        assert x[..., 2 if y else 0].tolist() == [[200] * 8] * 8
    x = get(here)["x_test"][get(here)["y_test"] == 0][0]
    assert 60 < x[0, 0] == Image.new("RGB", (1, 1), (200, 10, 3)).convert("L").getpixel((0, 0)) < 70


def test_a_camera_held_upright_gives_an_upright_picture(here):
    pictures(here / "own", a=9, b=9)
    half = np.zeros((16, 16), np.uint8)
    half[:, 8:] = 255  # the right half, which orientation 6 turns to the bottom
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        for i in range(9):
            Image.fromarray(half).save(here / f"own/{name}/{i}.png", exif=exif)
    x = get(here)["x_train"][0]
    assert x[:3].max() <= 20
    assert x[5:].min() >= 235


def animated():
    return bytes_of(grey(0), "GIF", save_all=True, append_images=[grey(200)])


def bomb():
    """A small PNG that claims 100 million pixels."""
    content = bytearray(bytes_of(grey(0), "PNG"))
    content[16:24] = struct.pack(">II", 10_000, 10_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8))
BAD = {
    "empty.png": (b"", "empty"),
    "half.png": (bytes_of(NOISE, "PNG")[:900], "truncated"),
    "half.jpg": (bytes_of(NOISE, "JPEG")[:900], "truncated"),
    "half.bmp": (bytes_of(NOISE, "BMP")[:1500], "truncated"),
    "page.jpg": (b"<html>Please log in</html>", "not a picture in a known format"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "not a picture in a known"),
    "film.gif": (animated(), "2 frames, but must have one"),
    "bomb.png": (bomb(), "more than 89,478,485 pixels"),
    "line.png": (bytes_of(Image.new("L", (1, 9)), "PNG"), "1 x 9 pixels, but must have 2 x 2 or more"),
    "float.tiff": (bytes_of(Image.new("F", (8, 8), 0.5), "TIFF"), "floating-point pixels, but must have 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_named_with_the_reason(here, name):
    pictures(here / "own", a=9, b=9)
    content, reason = BAD[name]
    (here / "own/a" / name).write_bytes(content)
    line = refused(here, f"{here}/own/a/{name} cannot be read as a picture ({reason}")
    assert "more of the" not in line


def test_all_bad_pictures_are_counted_and_named(here, capsys):
    pictures(here / "own/train", a=9, b=9)
    pictures(here / "own/test", a=1)
    (here / "own/train/b/x.png").write_bytes(b"")
    (here / "own/train/a/pipe.png").symlink_to(os.devnull)
    (here / "own/train/a/lost.png").symlink_to(here / "nowhere")
    os.mkfifo(here / "own/test/a/queue.png")
    line = refused(
        here, f"{here}/own/test/a/queue.png cannot be read as a picture (not a file); 3 more of the 23"
    )
    out = capsys.readouterr().out
    assert f"{here}/own/train/b/x.png cannot be read as a picture (empty)" in out
    assert f"{here}/own/train/a/lost.png cannot be read as a picture (No such file or directory)" in out
    assert out.count("cannot be read") == 4
    assert "files cannot either" in line


def test_a_name_that_is_not_utf_8_or_has_line_ends_is_shown_in_one_line(here):
    pictures(here / "own", a=9, b=9)
    with open(os.fsencode(here / "own/a") + b"/\xff\n.png", "wb"):
        pass
    refused(here, "\\udcff .png cannot be read as a picture (empty)").encode()  # can be printed


def test_a_single_frame_gif_and_a_phones_two_pictures_in_one_jpeg_are_pictures(here):
    pictures(here / "own", a=8, b=8)
    grey(7).save(here / "own/a/still.gif")
    with open(here / "own/a/phone.jpg", "wb") as file:
        grey(99, 16).save(file, "MPO", save_all=True, append_images=[grey(0, 16)])
    arrays = get(here)
    both = levels(arrays["x_train"]) + levels(arrays["x_test"])
    assert 7 in both
    assert 99 in both


def test_white_ink_on_a_transparent_ground_is_noticed(here, capsys):
    pictures(here / "own", a=9, b=1)
    for i in range(9):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        picture(here / f"own/a/{i}.png", Image.fromarray(pixels))
        image = Image.new("LA", (8, 8), (255, 0))
        image.putpixel((3, 3), (255, 255))
        picture(here / f"own/b/{i}.png", image)
    get(here)
    assert "have a single colour" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({".": 20}, "own holds 0 classes, but must hold 2 to 256: a sub-folder for each"),
        ({"a": 20}, "holds 1 classes, but must hold 2 to 256: a sub-folder for each"),
        ({f"{i:03}": 1 for i in range(257)}, "holds 257 classes, but must hold 2 to 256"),
        ({"a": 20, "b": 0, "c": 0}, "the class b has no picture to train on, nor have 1 more classes"),
        ({"a": 5, "b": 4}, "holds 9 pictures to train on, but must hold 10 or more"),
        ({"a": 10, "b": 1}, "holds 9 pictures to train on, but must hold 10 or more"),
        ({f"{i}": 1 for i in range(12)}, "without a test part, a class must have 2 or more"),
        (
            {"train": 9, "val": 9},
            "has the folders train, val, but must have one for each class, or train and",
        ),
        ({"train": 9, "test": 9, "b": 9}, "has the folders b, test, train, but must have one for each class"),
        ({"Training/a": 9, "Test/a": 9}, "has the folders Test, Training, but must have one for each class"),
        ({"training/a": 9, "testing/a": 9}, "has the folders testing, training, but must have one for each"),
        (
            {"tench, Tinca tinca": 9, "b": 9},
            "but a class's name must have no comma, and no space at its ends",
        ),
        ({"a ": 9, "bc": 9}, "but a class's name must have no comma, and no space at its ends"),
        ({"train": 9, "test": 9}, "own/train holds 0 classes, but must hold 2 to 256: a sub-folder"),
        ({"a": 9, "b\nc": 9}, "has the class 'b\\nc', but a class's name must be one line of text"),
        (
            {"train/a": 9, "train/b": 9, "test/a": 2, "test/c": 2},
            "own/test has the class c, but must have only",
        ),
        ({"train/a": 9, "train/b": 9, "test/a": 0}, "own/test holds no picture: it must hold one or more"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(here, counts, said):
    for name, n in counts.items():
        (here / "own" / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (here / f"own/{name}/{i}.png").write_bytes(b"")  # refused before a picture is read
    refused(here, said)


def test_only_one_picture_is_in_memory_in_its_own_size(here):
    content = bytes_of(Image.new("L", (3000, 3000), 128), "PNG")
    for name in "ab":
        (here / "own" / name).mkdir(parents=True)
        for i in range(20):
            (here / f"own/{name}/{i}.png").write_bytes(content)
    code = f"""
import resource, sys
from pathlib import Path
from condgen.datasets import download, sets
import PIL.PngImagePlugin
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
p = download.DataParams(dataset="own", source="auto", timeout=1, side=8, channels=1, test_share=0.2)
sets.get(p, Path("."), sets=Path({str(here)!r}))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 60, "MB; the 40 pictures have 343"


# An npz file


def npz(here, compressed=False, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (20, 8, 8), dtype=np.uint8),
        "y_train": (np.arange(20) % 2).astype(np.uint8),
        "x_test": rng.integers(0, 256, (4, 8, 8), dtype=np.uint8),
        "y_test": np.array([0, 1, 1, 0], np.uint8),
        "classes": np.array(["cell", "débris"]),
    } | changes
    arrays = {name: array for name, array in arrays.items() if array is not None}
    (np.savez_compressed if compressed else np.savez)(here / "own.npz", **arrays)
    return arrays


def pairs(x, y):
    return sorted((image.tobytes(), int(label)) for image, label in zip(x, y, strict=True))


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_keeps_its_images_labels_and_classes(here, compressed):
    given = npz(here, compressed)
    arrays = get(here, "own.npz")
    for part in ("train", "test"):
        x, y = f"x_{part}", f"y_{part}"
        assert pairs(arrays[x], arrays[y]) == pairs(given[x], given[y])
    assert arrays["classes"].tolist() == ["cell", "débris"]
    assert np.bincount(arrays["y_train"][:10]).tolist() == [5, 5], "the order is stratified"
    assert str(arrays["source"]) == "own.npz, 20 images to train and 4 to test"


def test_without_a_test_part_a_share_of_an_npz_is_held_out(here):
    given = npz(here, x_test=None, y_test=None, classes=None, y_train=np.arange(20) % 2)
    arrays = get(here, "own.npz")
    assert (len(arrays["y_train"]), len(arrays["y_test"])) == (16, 4)
    assert np.bincount(arrays["y_test"]).tolist() == [2, 2]
    x, y = (np.concatenate([arrays[f"{k}_train"], arrays[f"{k}_test"]]) for k in "xy")
    assert pairs(x, y) == pairs(given["x_train"], given["y_train"])
    assert arrays["classes"].tolist() == ["0", "1"]


def test_what_the_stage_wrote_can_be_read_again(here):
    pictures(here / "own", a=9, b=6)
    first = get(here, channels=3)
    files.write_npz(here / "own.npz", **first)
    again = get(here, "own.npz", channels=3)
    for part in ("train", "test"):
        assert pairs(again[f"x_{part}"], again[f"y_{part}"]) == pairs(first[f"x_{part}"], first[f"y_{part}"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.integers(8, 40), st.integers(8, 40), st.booleans(), st.sampled_from([1, 3]))
def test_an_npz_of_any_shape_is_brought_to_the_side(here, h, w, colour, channels):
    shape = (20, h, w, 3) if colour else (20, h, w)
    npz(here, x_train=np.full(shape, 77, np.uint8))
    x = get(here, "own.npz", side=12, channels=channels)["x_train"]
    assert x.shape == (20, 12, 12) + (3,) * (channels == 3)
    assert (x == 77).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_train": None}, "lacks the array y_train: it must hold x_train and y_train"),
        ({"y_test": None}, "must hold both x_test and y_test, or neither"),
        ({"x_train": np.zeros((20, 8, 8))}, "x_train is float64 [20, 8, 8], but must be uint8 [20, h, w]"),
        ({"x_train": np.zeros((19, 8, 8), "u1")}, "x_train is uint8 [19, 8, 8], but must be uint8 [20, h"),
        ({"x_train": np.zeros((20, 8, 8, 4), "u1")}, "x_train is uint8 [20, 8, 8, 4], but must be"),
        ({"x_train": np.zeros((20, 7, 8), "u1")}, "8 to 1024 pixels along each side"),
        ({"x_train": np.zeros((8, 8, 20), "u1").T}, "x_train is in Fortran's order"),
        ({"y_train": np.zeros(20)}, "y_train is float64 [20], but must be uint8 [n], a label for each"),
        ({"y_train": np.arange(20) - 1}, "y_train holds -1 to 18, but must hold labels from 0 to 255"),
        ({"y_test": np.array([0, 1, 2, 0])}, "y_test holds 2, but there are 2 classes"),
        ({"y_train": np.zeros(20, "u1")}, "the class débris has no picture to train on"),
        ({"classes": np.array([1, 2])}, "classes is int64 [2], but must be text [classes]"),
        ({"classes": np.array(["a", "a"])}, "has the class a twice"),
        ({"classes": np.array(["a"])}, "holds 1 classes, but must hold 2 to 256"),
        ({"classes": np.array(["a", {}], object)}, "is damaged (classes is object [2])"),
    ],
)
def test_an_npz_with_a_wrong_array_is_refused(here, changes, said):
    npz(here, **changes)
    refused(here, f"{here}/own.npz", said, name="own.npz")


@pytest.mark.parametrize("keep", [0, 100, 900])
def test_a_damaged_npz_is_refused(here, keep):
    npz(here)
    content = (here / "own.npz").read_bytes()
    (here / "own.npz").write_bytes(content[:keep])
    refused(here, "own.npz is damaged", name="own.npz")


def test_a_changed_byte_in_an_npz_is_noticed(here):
    given = npz(here)
    content = (here / "own.npz").read_bytes()
    at = content.index(given["x_train"].tobytes()) + 5
    (here / "own.npz").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    refused(here, "is damaged (Bad CRC-32", name="own.npz")


# Descriptions of torchvision's sets

KNOWN = [
    "CIFAR10", "EMNIST/balanced", "EMNIST/byclass", "EMNIST/bymerge", "EMNIST/digits", "EMNIST/letters",
    "EMNIST/mnist", "FashionMNIST", "KMNIST", "MNIST", "SVHN",
]  # fmt: skip


def listed(known):
    """torchvision's own list of a set's classes, without the labels below the first."""
    kind = getattr(datasets, known.torchvision)
    if known.torchvision == "EMNIST":
        return kind.classes_split_dict[known.train["split"]][known.first_label :]
    if known.torchvision == "SVHN":  # it has no list
        return list("0123456789")
    if known.torchvision == "CIFAR10":  # its list is in the downloaded files
        return ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return kind.classes


def test_all_descriptions_are_here(root):
    """Only git's files: somebody's own sets may lie beside them."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(git, cwd=root / "data/sets", capture_output=True, text=True, check=True).stdout
    assert {name for name in found.split() if "." not in name} == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_a_description_has_torchvisions_classes_in_its_order(root, name):
    known = sets.describe(root / "data/sets" / name)
    theirs = listed(known)
    assert len(known.classes) == len(theirs)
    for mine, their in zip(known.classes, theirs, strict=True):
        if known.torchvision in ("MNIST", "FashionMNIST"):  # "0 - zero", "T-shirt/top"
            assert re.fullmatch(rf"{mine}\b.*", their.lower())
        else:
            assert mine == their


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in download.MIRRORED])
def test_a_description_says_where_torchvision_looks_for_its_files(root, name):
    known = sets.describe(root / "data/sets" / name)
    kind = getattr(datasets, known.torchvision)
    expected = {
        "EMNIST": lambda: {"EMNIST/raw/gzip.zip": kind.url},
        "CIFAR10": lambda: {kind.filename: kind.url},
        "SVHN": lambda: {file: url for url, file, _ in (kind.split_list[p] for p in ("train", "test"))},
    }
    assert known.files == expected[known.torchvision]()


def test_a_download_that_fails_says_which_files_belong_where(root, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    said = {
        "CIFAR10": "data/torchvision/cifar-10-python.tar.gz from https://",
        "SVHN": "data/torchvision/train_32x32.mat from http://",
        "EMNIST/letters": "data/torchvision/EMNIST/raw/gzip.zip from https://",
    }
    for name, text in said.items():
        line = refused(root / "data/sets", text, "torchvision cannot get", name=name, root=tmp_path)
        assert "Connection refused" in line


@pytest.fixture
def fake(monkeypatch):
    """Puts a made-up class in torchvision's place; returns the calls it got."""
    calls = []

    class Fake(datasets.VisionDataset):
        def __init__(self, root, download=False, **arguments):
            calls.append((root, download, arguments, socket.getdefaulttimeout()))
            self.n = 20 if arguments.get("train") is True or arguments.get("split") == "train" else 6

        def __len__(self):
            return self.n

        def __getitem__(self, i):
            pixels = np.zeros((10, 10), np.uint8)
            pixels[0] = 200  # a bar at the top
            return Image.fromarray(pixels), i % 2 + 1

    monkeypatch.setattr(datasets, "EMNIST", Fake)
    monkeypatch.setattr(datasets, "SVHN", Fake)
    return calls


def test_torchvision_is_called_as_described(here, fake):
    (here / "letters").write_text(
        "torchvision: EMNIST\ntrain: {split: letters, train: true}\ntest: {split: letters, train: false}\n"
        "first_label: 1\ntransposed: true\nclasses: [a, b]\n"
    )
    arrays = get(here, "letters", side=10)
    where = str(here.parents[1] / "data/torchvision")
    assert fake == [
        (where, True, {"split": "letters", "train": True}, 1),
        (where, True, {"split": "letters", "train": False}, 1),
    ]
    assert socket.getdefaulttimeout() is None
    assert np.bincount(arrays["y_train"]).tolist() == [10, 10], "labels from 0"
    assert set(arrays["y_train"][:2].tolist()) == {0, 1}, "every prefix is stratified: some sets are sorted"
    assert arrays["x_train"].shape == (20, 10, 10)
    assert (arrays["x_train"][0, :, 0] == 200).all(), "transposed: the bar is at the left"
    assert (arrays["x_train"][0, :, 1:] == 0).all()
    assert arrays["classes"].tolist() == ["a", "b"]
    assert str(arrays["source"]) == "letters, all 26 images"
    assert get(here, "letters", channels=3)["x_test"].shape == (6, 8, 8, 3)


def test_emnist_is_read_by_torchvision_from_files_that_are_there(root, tmp_path):
    raw = tmp_path / "data/torchvision/EMNIST/raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (26, 28, 28), dtype=np.uint8)
    for part in ("train", "test"):
        for kind, array in (("images-idx3", pixels), ("labels-idx1", np.arange(1, 27, dtype=np.uint8))):
            header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (raw / f"emnist-letters-{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    arrays = get(root / "data/sets", "EMNIST/letters", tmp_path, side=28)
    upright = pixels.swapaxes(1, 2)
    assert np.array_equal(arrays["x_train"], upright[arrays["y_train"]]), "one image of each letter"
    assert np.array_equal(arrays["x_test"], upright)
    assert arrays["y_test"].tolist() == list(range(26))
    assert (arrays["classes"][0], arrays["classes"][25]) == ("a", "z")
    assert str(arrays["source"]) == "EMNIST/letters, all 52 images"


def test_svhn_is_read_by_torchvision_in_colour(root, tmp_path, monkeypatch):
    place = tmp_path / "data/torchvision"
    place.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    listed = {}
    for part in ("train", "test"):
        path = place / f"{part}_32x32.mat"
        labels = (np.arange(20) % 10 + 1).astype(np.uint8)[:, None]  # there 10 is the digit 0
        scipy.io.savemat(path, {"X": pixels.transpose(1, 2, 3, 0), "y": labels})
        listed[part] = ["http://127.0.0.1:9/", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    arrays = get(root / "data/sets", "SVHN", tmp_path, side=32, channels=3)
    assert np.array_equal(arrays["x_test"], pixels)
    assert arrays["y_test"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    rows = {image.tobytes(): label for image, label in zip(pixels, arrays["y_test"], strict=True)}
    assert [rows[image.tobytes()] for image in arrays["x_train"]] == arrays["y_train"].tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "torchvision: SVHN\ntrain: {split: train}\ntest: {split: test}\nclasses: [a, b]",
            "names 2 classes, but",
        ),
        ("torchvision: SVHN\nfirst_label: 2\nclasses: [a, b, c]", "labels are -1 to 0 after first_label"),
        (
            "torchvision: SVHN\nclass: [a, b, c]",
            "x: classes: Field required (the keys are torchvision, classes,",
        ),
        ("torchvision: SVHN\nclasses: [a, b]\nsplit: x", "split: Extra inputs are not permitted"),
        ("torchvision: SVHN\nclasses: [1, 2]", "classes.0: Input should be a valid string"),
        ("torchvision: SVHN\nclasses: [a, a]", "has the class a twice"),
        ("torchvision: SVHN\nclasses: [a]", "holds 1 classes, but must hold 2 to 256"),
        ("torchvision: transforms\nclasses: [a, b]", "torchvision has no data set transforms"),
        ("torchvision: ImageFolder\nclasses: [a, b]", "torchvision cannot get ImageFolder"),
        ("torchvision: [", "is not YAML"),
        ("- 1", "holds list, but must hold"),
        ("x" * 70_000, "must be a folder, an npz file, or a description of at most 64 kB"),
    ],
)
def test_a_wrong_description_is_refused(here, fake, text, said):
    (here / "x").write_text(text)
    line = refused(here, said, name="x")
    assert f"{here}/x" in line or "cannot get ImageFolder" in line


@pytest.mark.parametrize("label", [0, {"species": 1}])
def test_a_set_that_opens_its_files_late_is_refused_in_one_line(here, monkeypatch, label):
    class Lazy(datasets.VisionDataset):
        def __init__(self, root, download, **arguments):
            super().__init__(root)

        def __len__(self):
            return 20

        def __getitem__(self, i):
            if label == 0:
                raise OSError("image file is truncated")
            return Image.new("L", (8, 8)), label

    monkeypatch.setattr(datasets, "Flowers102", Lazy)
    (here / "x").write_text("torchvision: Flowers102\nclasses: [a, b]")
    assert "Flowers102 cannot be read" in refused(here, "", name="x")


def test_mnist_is_todays_and_other_sizes_come_from_it(root, npz, monkeypatch):
    p = params.read(download.DataParams, root / "params.yaml")
    assert (p.side, p.channels) == (28, 1)
    p = p.model_copy(update={"source": "bundled"})
    plain = download.bundled("MNIST")
    monkeypatch.setattr(download, "bundled", lambda name: dict(plain))  # reading it takes seconds
    arrays = sets.get(p, root, sets=root / "data/sets")
    assert all(np.array_equal(plain[name], arrays[name]) for name in plain)
    assert arrays["classes"].tolist() == list("0123456789")
    small = sets.get(p.model_copy(update={"side": 14, "channels": 3}), root, sets=root / "data/sets")
    assert small["x_train"].shape == (4000, 14, 14, 3)
    assert np.array_equal(small["y_train"], plain["y_train"])
    assert abs(small["x_train"].mean() - plain["x_train"].mean()) < 1
    assert str(small["source"]) == download.BUNDLED
    assert len(data.load(npz, data.SplitParams(validation=5000)).train) == 3600


@pytest.mark.parametrize("name", ["KMNIST", "EMNIST/digits", "own", "own.npz"])
def test_only_mnist_is_bundled(root, here, name):
    pictures(here / "own", a=9, b=9)
    npz_of = here / "own.npz"
    npz_of.write_bytes(b"")
    folder = here if "own" in name else root / "data/sets"
    refused(folder, f"data.source is bundled, but data.dataset is {name}", name=name, source="bundled")


# Names


@pytest.mark.parametrize(
    "name",
    [
        "/etc",
        "../sets/MNIST",
        "EMNIST/../MNIST",
        "nothing",
        "EMNIST",
        ".",
        "",
        "MNIST/",
        ".git",
        "a\0b",
        "lost",
    ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(here, name):
    for known in ("MNIST", "EMNIST/letters", "EMNIST/digits"):
        (here / known).parent.mkdir(exist_ok=True)
        (here / known).write_text("torchvision: MNIST")
    pictures(here / "glyphs", a=1)
    (here / ".gitignore").write_text("/glyphs")
    (here / "glyphs.dvc").write_text("outs:")
    (here / "lost").symlink_to(here / "nowhere")
    p = download.DataParams.model_construct(
        dataset=name, source="auto", timeout=1, side=8, channels=1, test_share=0.2
    )
    with pytest.raises(UserError) as caught:
        sets.get(p, here, sets=here)
    line = str(caught.value)
    assert line.splitlines() == [line]
    assert f"data.dataset is {name!r}, but must be one of what" in line
    assert "(EMNIST/digits, EMNIST/letters, MNIST, glyphs)" in line
    assert "ln -s /path/to/pictures data/sets/pictures" in line
    assert "dvc add data/sets/pictures" in line


def test_a_set_that_dvc_keeps_elsewhere_is_said_to_be_so(here):
    (here / "own.dvc").write_text("outs:")
    refused(here, f"{here}/own is tracked by DVC, but not in this checkout: 'dvc pull {here}/own'")


def test_sets_are_for_git_and_what_dvc_makes_is_not(root):
    def ignored(path):
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=root)
        return done.returncode == 0

    assert not ignored("data/sets/EMNIST/new")
    assert ignored("data/torchvision/x")
    assert ignored("data/dataset.npz")


def test_no_warning_of_pillow_reaches_the_user(here):
    pictures(here / "own", a=9, b=9)
    cut = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00"  # five entries are announced, none follows
    grey(0).save(here / "own/a/x.jpg", exif=cut)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        get(here)
    assert not caught


@pytest.mark.parametrize("name", ["t-shirt/top", "a\\b", "..", ".hidden", "x" * 101])
def test_a_class_name_that_no_folder_can_have_is_refused(here, name):
    x = np.zeros((40, 8, 8), np.uint8)
    np.savez(
        here / "own.npz", x_train=x, y_train=np.arange(40, dtype=np.uint8) % 2, classes=np.array(["a", name])
    )
    with pytest.raises(UserError, match="must be at most 100 characters without slashes"):
        get(here, "own.npz")
