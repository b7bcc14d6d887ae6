"""Untrusted files: no code in them is run, and a size that they only claim is not allocated."""

import ast
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from condgen.base import files, params
from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.sampling import generator
from specs import DIGITS

pytestmark = pytest.mark.attack
MIB = 2**20


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def as_pickle(it):
    return pickle.dumps(it)


def as_torch(it):
    buffer = io.BytesIO()
    torch.save({"w": it}, buffer)
    return buffer.getvalue()


def as_npy(it):
    buffer = io.BytesIO()
    np.save(buffer, np.array([it], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def as_npz(it):
    buffer = io.BytesIO()
    names = ("images", "labels", "epochs", "x_train", "y_train", "x_test", "y_test", "source")
    np.savez(buffer, **{name: np.array([it], dtype=object) for name in names})
    return buffer.getvalue()


def load_split(path):
    data.load(path, data.SplitParams(validation=1))


def load_model(path):
    (path.parent / "config.json").write_text('{"model": "cgan"}')
    generator.load(path.parent)


READERS = {
    "mnist.npz": load_split,
    "samples.npz": lambda path: data.load_samples(path, DIGITS),
    "history.npz": lambda path: data.read_history(path, DIGITS),
    "history.npy": lambda path: data.read_history(path, DIGITS),
    "model.safetensors": load_model,
    "config.json": files.read_json,
    "curves.csv": files.read_csv,
    "params.yaml": params.read_seed,
}


@pytest.mark.parametrize("form", [as_pickle, as_torch, as_npy, as_npz], ids=lambda form: form.__name__)
@pytest.mark.parametrize("name", READERS)
def test_a_planted_pickle_is_not_run_in_any_file(tmp_path, name, form):
    marker = tmp_path / "it was run"
    path = tmp_path / name
    path.write_bytes(form(Planted(marker)))
    with pytest.raises(UserError, match=name) as caught:
        READERS[name](path)
    assert not marker.exists()
    assert len(str(caught.value).splitlines()) == 1 or name == "params.yaml"  # preflight.fail joins its lines


@pytest.mark.parametrize("form", [as_pickle, as_torch, as_npy, as_npz], ids=lambda form: form.__name__)
def test_the_planted_pickle_is_run_when_it_is_unpickled(tmp_path, form):
    marker = tmp_path / "it was run"
    buffer = io.BytesIO(form(Planted(marker)))
    if form is as_pickle:
        pickle.load(buffer)
    elif form is as_torch:
        torch.load(buffer, weights_only=False)
    else:
        loaded = np.load(buffer, allow_pickle=True)
        _ = loaded["images"] if form is as_npz else loaded
    assert marker.exists()


def test_the_package_does_not_unpickle_or_evaluate_text(root):
    modules, calls = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, set()
    for path in [*root.glob("src/condgen/**/*.py"), *root.glob("stages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not modules & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in modules, path
            elif isinstance(node, ast.Call):
                calls.add(ast.unparse(node.func))
                for word in node.keywords:
                    if word.arg == "allow_pickle":
                        assert ast.unparse(word.value) == "False", path
    assert not calls & {"torch.load", "yaml.load", "yaml.unsafe_load", "eval", "exec"}


# Bounds


@contextmanager
def at_most(size):
    """The block must not hold more than `size` bytes at a time from Python and NumPy."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def claim(shape, dtype="|u1", content=b"few"):
    """An npy file that claims to be larger than it is."""
    buffer = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": dtype}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + content


def npz(path, content, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("images.npy", content)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2**40,), "|u1"), ((2**31, 28, 28), "|u1"), ((2**62, 2**62), "|u1"), ((3,), "<U100000000"),
     ((-3,), "|u1"), ((-1, -3), "|u1"), ((2**63, 0), "|u1"), ((), "<U500000000")],
)  # fmt: skip
def test_an_array_that_claims_to_be_larger_than_its_file_gets_no_memory(tmp_path, shape, dtype):
    npz(tmp_path / "a.npz", claim(shape, dtype))
    with at_most(MIB), pytest.raises(UserError, match=r"a\.npz is damaged \(images is declared as"):
        files.read_npz(tmp_path / "a.npz", "images")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    content = claim((300 * MIB,), content=bytes(300 * MIB))
    npz(tmp_path / "a.npz", content, compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "a.npz").stat().st_size < MIB
    del content
    with at_most(MIB), pytest.raises(UserError, match=r"a\.npz is damaged \(images is compressed"):
        files.read_npz(tmp_path / "a.npz", "images")


def test_an_entry_that_claims_to_be_larger_than_its_file_gets_no_memory(tmp_path):
    size = 2**32 - 2
    start = claim((0,), content=b"")
    npz(tmp_path / "a.npz", claim((size - len(start) - 16,)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02")  # the entry in the directory, which names the size twice
    content[at + 20 : at + 28] = struct.pack("<II", size, size)
    (tmp_path / "a.npz").write_bytes(content)
    with (
        at_most(MIB),
        pytest.raises(UserError, match=r"a\.npz is damaged \(images is compressed, or 4294967294"),
    ):
        files.read_npz(tmp_path / "a.npz", "images")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        b'{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}',
        b'{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,3]}}',
        b'{"w":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,0]}}',
    ],
)
def test_weights_that_claim_to_be_large_get_no_memory(tmp_path, content):
    if content[:1] == b"{":
        content = struct.pack("<Q", len(content)) + content + b"few"
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_text("{}")
    with at_most(MIB), pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        files.read_model(tmp_path)


def test_a_header_that_is_nested_too_deeply_is_reported_as_damaged(tmp_path):
    text = b"{'descr': " + b"(" * 5000 + b"'|u1'"
    npz(tmp_path / "a.npz", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    with pytest.raises(UserError, match=r"a\.npz is damaged"):
        files.read_npz(tmp_path / "a.npz", "images")
