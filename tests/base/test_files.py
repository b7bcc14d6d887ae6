"""Files are written whole or not at all, equal content gives equal bytes, and damage is reported."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from condgen.base import files
from condgen.base.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(UserError, match=r"a\.json cannot be written: No space left on device: free disk"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_sweep_removes_only_the_unfinished_files_of_killed_processes(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", "from condgen.base import files; print(files.unfinished('a'))"],
        cwd=ROOT / "src", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f"{killed}x7_").write_bytes(b"half")
    (tmp_path / f"{killed}folder").mkdir()
    (tmp_path / f"{killed}folder" / "file").write_bytes(b"")
    kept = [f"{files.unfinished('a')}x7_", f"{killed.replace('@', '@another-')}x7_", ".a.x7_", ".gitignore"]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    files.sweep(tmp_path)
    assert [path.name for path in (tmp_path / "below").iterdir()] == [f"{killed}x7_"]
    files.sweep(tmp_path, below=True)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "below"])
    assert not list((tmp_path / "below").iterdir())
    for name in kept:
        os.utime(tmp_path / name, (0, 0))  # older than OLD_SECONDS
    files.sweep(tmp_path)
    kept.remove(f"{killed.replace('@', '@another-')}x7_")  # nobody here can ask whether its process runs
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "below"]), "age is no sign of death"


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no os.waitid")
def test_sweep_treats_a_zombie_as_ended(tmp_path):
    half = "from condgen.base import files; print(files.unfinished('a'), flush=True); "
    half += "import time; time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", half], cwd=ROOT / "src", stdout=subprocess.PIPE, text=True
    ) as child:
        left = tmp_path / f"{child.stdout.readline().strip()}x7_"
        left.write_bytes(b"half")
        files.sweep(tmp_path)
        assert left.exists(), "the process is still running"
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        files.sweep(tmp_path)
        assert not left.exists()


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    files.write(tmp_path / "ours", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    x = np.arange(1000, dtype=np.uint8)
    for name in ("a", "b"):
        files.write_npz(tmp_path / name, x=x, source=np.array("text"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_archive_has_the_same_bytes_on_every_python(tmp_path):
    """DVC retrains if bytes change. NumPy's own archives differ between Python 3.11.2 and 3.11.7."""
    files.write_npz(tmp_path / "a.npz", a=np.arange(3, dtype="u1"), b=np.array("text", dtype="<U4"))
    digest = hashlib.md5((tmp_path / "a.npz").read_bytes(), usedforsecurity=False).hexdigest()
    assert digest == "926440ac23e405b7ecd36c8ec481385a"


def test_a_model_round_trips_through_its_files(tmp_path):
    state = {"w": torch.randn(3, 4), "b": torch.zeros(3)}
    files.write_model(tmp_path, state, {"hidden": 4})
    loaded, config = files.read_model(tmp_path)
    assert config == {"hidden": 4}
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 100])
def test_a_damaged_model_is_reported_and_a_pickle_is_not_loaded(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        files.read_model(tmp_path)


def test_nan_is_refused_in_metrics(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})


def test_csv_rows_round_trip(tmp_path):
    rows = [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": 1e-9}]
    files.write_csv(tmp_path / "a.csv", rows)
    assert files.read_csv(tmp_path / "a.csv") == rows
