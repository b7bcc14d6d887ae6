"""The data set comes from a folder, a server or a package, whole and verified, or an error says why not."""

import base64
import gzip
import hashlib
import http.server
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from condgen.base import files, params
from condgen.base.errors import UserError
from condgen.datasets import download, sets


def idx(array):
    """An array in the format of the original files, gzipped."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with a tiny MNIST. torchvision is patched to expect these files and has no working mirror."""
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": rng.integers(0, 10, 30, dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, 10, dtype=np.uint8),
    }
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, array in arrays.items():
        content = idx(array)
        (folder / f"{name}.gz").write_bytes(content)
        resources.append((f"{name}.gz", hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens there
    return folder


@pytest.fixture
def serve():
    """Starts web servers: serve(handler class) -> address."""
    servers = []

    def start(handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def handler(respond):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                respond(self, self.path.rsplit("/", 1)[1])
            except (BrokenPipeError, ConnectionResetError):
                pass

        def log_message(self, *args):
            pass

    return Handler


def whole(folder):
    def respond(request, name):
        content = (folder / name).read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return respond


def corrupt(request, name):
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"<html>please log in to this network</html>")


def missing(request, name):
    request.send_error(404)


def silent(request, name):
    time.sleep(30)


def stalled(request, name):
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"x" * 1000)
    time.sleep(30)


def trickle(request, name):
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b"x")
        time.sleep(0.05)


def endless(request, name):
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 2**20)


def get(mirror, root=Path("."), source="mirrors", dataset="MNIST", timeout=20):
    p = download.DataParams(
        dataset=dataset, source=source, timeout=timeout, side=28, channels=1, test_share=0.2
    )
    return download.get(dataset, p, root, mirror)


def test_a_folder_and_a_server_give_the_same_bytes(mirror, serve, tmp_path):
    address = serve(handler(whole(mirror)))
    for name, place in {"a": str(mirror), "b": address, "c": mirror.as_uri()}.items():
        files.write_npz(tmp_path / name, **get(place))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    x_train, y_test, source = files.read_npz(tmp_path / "a", "x_train", "y_test", "source")
    assert (x_train.dtype, x_train.shape, y_test.shape) == (np.uint8, (30, 28, 28), (10,))
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    assert np.array_equal(x_train, expected)
    assert str(source) == "MNIST, all 40 images"


def test_a_relative_folder_counts_from_the_root(mirror, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(get("mirror", root=tmp_path)["x_train"]) == 30
    with pytest.raises(UserError, match=r"has no file train-images-idx3-ubyte\.gz"):
        get("mirror", root=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (corrupt, "train-images-idx3-ubyte.gz is corrupt"),
        (missing, "HTTP status 404"),
        (silent, "silent for too long"),
        (stalled, "silent for too long"),
        (trickle, "slower than 20 kB/s"),
        (endless, "is larger than 64 MiB"),
    ],
)
def test_a_bad_mirror_is_passed_over_with_a_line_that_says_why(
    mirror, serve, monkeypatch, capsys, respond, said
):
    bad = serve(handler(respond))
    # The good mirror is a folder, which no time-out of a busy machine can hit.
    monkeypatch.setattr(datasets.MNIST, "mirrors", [str(mirror)])
    # On a busy machine a server may be silent for a second that is only slow.
    timeout = 1 if respond in (silent, stalled, trickle) else 400
    assert len(get(bad, timeout=timeout)["x_train"]) == 30
    lines = [line for line in capsys.readouterr().out.splitlines() if "passed over" in line]
    assert len(lines) == 1
    assert bad in lines[0]
    assert said in lines[0]


def test_a_file_fetched_from_one_mirror_is_not_fetched_from_the_next(mirror, serve, monkeypatch):
    asked = []

    def half(request, name):
        (whole(mirror) if name.startswith("train") else corrupt)(request, name)

    def counting(request, name):
        asked.append(name)
        whole(mirror)(request, name)

    monkeypatch.setattr(datasets.MNIST, "mirrors", [serve(handler(counting))])
    get(serve(handler(half)))
    assert asked == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]


def test_without_a_working_mirror_the_error_says_why_each_failed(mirror, serve, monkeypatch, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    bad = serve(handler(corrupt))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [down, bad])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        get(str(tmp_path / "empty"))
    text = str(caught.value)
    assert f"{tmp_path / 'empty'} has no file train-images-idx3-ubyte.gz" in text
    assert re.search(re.escape(f"{down}: ") + r"\[Errno \d+\] Connection refused", text)
    assert f"{bad}: train-images-idx3-ubyte.gz is corrupt" in text
    assert "Set MNIST_MIRROR" in text


def test_auto_falls_back_with_a_warning_that_says_how_to_get_the_full_set(mirror, tmp_path, capsys):
    arrays = get(str(tmp_path), source="auto")
    out = capsys.readouterr().out
    assert "WARNING" in out
    assert "5,000" in out
    assert "dvc repro --force --single-item download" in out
    assert "bundled" in str(arrays["source"])


def test_the_bundled_digits_are_balanced_and_disjoint():
    arrays = get(None, source="bundled")
    assert (len(arrays["y_train"]), len(arrays["y_test"])) == (4000, 1000)
    assert np.bincount(arrays["y_train"]).tolist() == [400] * 10
    assert np.bincount(arrays["y_test"]).tolist() == [100] * 10
    assert np.bincount(arrays["y_train"][:400]).tolist() == [40] * 10, "validation is balanced too"
    both = {x.tobytes() for x in arrays["x_train"]} & {x.tobytes() for x in arrays["x_test"]}
    assert not both
    assert arrays["x_train"].dtype == np.uint8
    assert arrays["x_train"].max() == 255


@pytest.mark.parametrize("address", ["s3://bucket/mnist", "ftp://example.org/mnist"])
def test_an_address_of_an_unsupported_kind_is_refused(mirror, address):
    with pytest.raises(UserError, match="must be an http://, https:// or file:// address, or a folder"):
        get(address)


@pytest.mark.parametrize(
    "login", ["me:secret", "secret", ":secret", "me:s@secret", "me:s/secret", "me:s secret", "me:s?secret"]
)
@pytest.mark.parametrize("place", ["127.0.0.1:9/", "127.0.0.1:99999/", "[::1", "a b/"])
def test_a_login_in_an_address_is_not_shown(mirror, capsys, login, place):
    with pytest.raises(UserError) as caught:
        get(f"http://{login}@{place}")
    assert "secret" not in str(caught.value) + capsys.readouterr().out
    assert f"no mirror serves MNIST: http://{place}: " in str(caught.value)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("joe:p%40ss", "joe:p@ss"), ("joe:p@ss", "joe:p@ss"), ("joe:p/ss", "joe:p/ss"),
        ("joe:p?ss", "joe:p?ss"),
        ("joe:pß", "joe:pß"), ("ghp_tok", "ghp_tok:"), ("ghp/tok", "ghp/tok:"), ("joe:p:ss", "joe:p:ss"),
    ],
)  # fmt: skip
def test_a_login_in_an_address_is_used_and_not_shown(mirror, serve, capsys, written, sent):
    def guarded(request, name):
        asked = request.headers["Authorization"] or "none"
        if base64.b64decode(asked.removeprefix("Basic ")).decode() == sent:
            whole(mirror)(request, name)
        else:
            request.send_error(401)

    address = serve(handler(guarded))
    assert len(get(address.replace("//", f"//{written}@"))["x_train"]) == 30
    out = capsys.readouterr().out
    assert f"train-images-idx3-ubyte.gz from {address}" in out
    with pytest.raises(UserError) as caught:
        get(address.replace("//", f"//{written}no@"))
    assert f"{address}: HTTP status 401" in str(caught.value)
    for part in re.split(r"[/:@?]", written):
        assert not re.search(rf"\b{part}(no)?\b", out + str(caught.value))


def test_importing_the_download_parameters_does_not_import_torchvision(root):
    code = "import sys, condgen.datasets.download; sys.exit('torchvision' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root / "src", check=True)


@pytest.mark.parametrize("source", ["auto", "bundled"])
def test_other_data_sets_have_no_bundled_images(source, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [])
    with pytest.raises(UserError, match=r"no mirror serves FashionMNIST|only MNIST is bundled"):
        get(str(tmp_path), source=source, dataset="FashionMNIST")


def test_a_mirror_of_another_data_set_is_refused(mirror, monkeypatch):
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [])
    with pytest.raises(UserError, match="is corrupt: its MD5 is not"):
        get(str(mirror), dataset="KMNIST")


@pytest.mark.attack
def test_what_is_checked_is_the_content_and_not_its_packing(mirror, monkeypatch, tmp_path):
    file, md5 = datasets.MNIST.resources[0]
    content = gzip.decompress((mirror / file).read_bytes())
    monkeypatch.setattr(download, "UNPACKED", {md5: hashlib.md5(content).hexdigest()})
    good = get(str(mirror))
    for packed in (gzip.compress(content, 1, mtime=9), gzip.compress(content) + b"more"):
        (mirror / file).write_bytes(packed)
        assert np.array_equal(get(str(mirror))["x_train"], good["x_train"])
    bomb = gzip.compress(bytes(download.LARGEST + 1), 1)
    for packed in (gzip.compress(content[:-1] + b"x"), gzip.compress(content)[:-20], content, bomb):
        (mirror / file).write_bytes(packed)
        with pytest.raises(UserError, match=f"{file} is corrupt: its MD5 is not {md5}"):
            get(str(mirror))


DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


@pytest.mark.skipif(not DEBIAN.is_dir(), reason=f"{DEBIAN} is not installed")
def test_clothes_of_debians_package(root):
    p = params.read(download.DataParams, root / "params.yaml")
    p = p.model_copy(update={"dataset": "FashionMNIST", "source": "mirrors"})
    arrays = sets.get(p, root, str(DEBIAN), root / sets.SETS)
    assert arrays["x_train"].shape == (60_000, 28, 28)
    assert arrays["classes"][arrays["y_train"][:3]].tolist() == ["ankle boot", "t-shirt", "t-shirt"]
    assert str(arrays["source"]) == "FashionMNIST, all 70,000 images"


@pytest.mark.skipif("MNIST_MIRROR" not in os.environ, reason="MNIST_MIRROR is not set")
def test_the_real_files(root, tmp_path):
    arrays = get(os.environ["MNIST_MIRROR"], root=root, timeout=20)
    assert arrays["x_train"].shape == (60_000, 28, 28)
    assert arrays["x_test"].shape == (10_000, 28, 28)
    # The well-known first labels of MNIST.
    assert arrays["y_train"][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert str(arrays["source"]) == "MNIST, all 70,000 images"
