"""A wrong Python, a missing package or a wrong value is one line on stderr, however a stage is started."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from condgen import preflight

STAGES = ["download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"]


@pytest.fixture
def checkout(root, tmp_path):
    """A copy of what a stage needs."""
    for folder in ("src", "stages"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


def run(cwd, *words, python=sys.executable):
    # Tracking must not reach the real store from here, whatever fails.
    env = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "DVC_STAGE", "PYTHONPATH")}
    return subprocess.run([python, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=400)


def one_line(done):
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def old_pythons():
    """Cases for Python versions below the minimum, skipped where they are not installed."""
    cases = []
    for version in ("3.8", "3.10"):
        places = [
            shutil.which(f"python{version}"),
            *Path.home().glob(f".pyenv/versions/{version}*/bin/python"),
        ]
        working = [
            p for p in places if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0
        ]
        marks = () if working else pytest.mark.skip(reason=f"no Python {version} on this machine")
        cases.append(pytest.param(str(working[0]) if working else None, id=version, marks=marks))
    return cases


@pytest.mark.parametrize("python", old_pythons())
@pytest.mark.parametrize("how", [["stages/download.py"], ["-m", "stages.download"]])
def test_a_python_that_is_too_old_is_refused(checkout, python, how):
    line = one_line(run(checkout, *how, python=python))
    assert "needs Python 3.11 or newer, but" in line
    assert "make repro" in line


@pytest.mark.parametrize("stage", STAGES)
def test_missing_packages_are_named(checkout, stage):
    # -S: no site-packages, so nothing but the standard library.
    line = one_line(run(checkout, "-S", f"stages/{stage}.py"))
    assert "lacks the packages" in line
    assert "torch" in line
    assert "mlflow" in line
    assert "pip install -c constraints.txt" in line


def test_the_minimum_python_is_that_of_pyproject(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={preflight.MIN_PYTHON[0]}.{preflight.MIN_PYTHON[1]}"


def test_missing_packages_are_found_by_the_list_in_pyproject(root, monkeypatch):
    """There is no second list of packages."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = {re.split("[^A-Za-z0-9._-]", line)[0] for line in project["dependencies"]}
    assert preflight.missing_packages() == []
    monkeypatch.setattr(preflight, "_installed", lambda name: False)
    assert set(preflight.missing_packages()) == declared
    monkeypatch.setattr(preflight.metadata, "requires", absent)
    assert preflight.missing_packages() == ["condgen"]


def absent(name):
    raise preflight.metadata.PackageNotFoundError(name)


def test_importing_preflight_has_no_side_effects(checkout):
    """An import makes no process, thread or file, and does not change the environment."""
    script = (
        "import os, sys, threading; sys.path.insert(0, 'src'); before = dict(os.environ), os.getcwd()\n"
        "import condgen.preflight, condgen.tracking, psutil\n"
        "assert before == (dict(os.environ), os.getcwd())\n"
        "assert threading.active_count() == 1 and not psutil.Process().children()\n"
    )
    done = run(checkout, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in checkout.iterdir()} == {"src", "stages", "params.yaml"}


@pytest.mark.parametrize("stage", ["download", "evaluate"])
def test_a_wrong_value_in_any_section_stops_every_stage_before_any_work(checkout, stage):
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("smooth: 0.05", "smooth: 0.7"))
    line = one_line(run(checkout, f"stages/{stage}.py"))
    assert "cgan.smooth is 0.7, but must be a number in [0, 0.5)" in line
    assert not (checkout / "data").exists()
    assert not (checkout / "mlflow.db").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_runs_the_checks_first(root, stage):
    text = (root / f"stages/{stage}.py").read_text()
    code = text.split('"""', 2)[2].strip()
    assert code.startswith(
        "import sys\nfrom pathlib import Path\n\n"
        'sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))'
    )
    before = code.split("preflight.prepare()")[0]
    assert "from condgen import preflight" in before
    assert not re.search("torch|numpy|tracking|datasets", before), "nothing is imported before it is checked"
    assert text.endswith('if __name__ == "__main__":\n    preflight.run(main)\n')


def test_ctrl_c_is_one_line_while_a_stage_imports_its_packages(checkout):
    (checkout / "src/condgen/tracking/__init__.py").write_text("raise KeyboardInterrupt")
    done = run(checkout, "stages/train_cgan.py")
    assert done.stderr == "condgen: interrupted\n"
    assert done.returncode == -signal.SIGINT, "DVC sees that it was interrupted"
    (checkout / "src/condgen/tracking/__init__.py").write_text("1 / 0")
    assert "ZeroDivisionError" in run(checkout, "stages/train_cgan.py").stderr, "a bug keeps its traceback"


def test_a_stage_imports_the_package_of_its_own_checkout(checkout):
    # An editable install points at another checkout; a queued experiment must not run that one's code.
    (checkout / "src/condgen/base/errors.py").write_text('raise SystemExit("my own copy")')
    assert one_line(run(checkout, "stages/train_cgan.py")) == "my own copy"


@pytest.mark.slow
def test_a_stage_works_in_its_own_checkout_wherever_it_is_started(checkout, tmp_path_factory):
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("seed: 0 ", "seed: x "))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    line = one_line(run(elsewhere, str(checkout / "stages/download.py")))
    assert "seed is 'x'" in line


@pytest.mark.slow
def test_wrong_params_of_another_section_stop_a_stage_that_is_not_about_them(checkout):
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("per_class: 1000 ", "per_class: 1 "))
    assert "sample.per_class is 1" in one_line(run(checkout, "stages/download.py"))


def test_a_stage_ends_when_its_dvc_is_killed(root):
    stage = "from condgen import preflight; preflight._end_with_dvc(); import os, time; "
    stage += "print(os.getpid(), flush=True); time.sleep(60)"
    # With a shell in between, as DVC has; the shell outlives DVC.
    dvc = "import os, subprocess, sys; subprocess.run(['sh', '-c', '\"$0\" -c \"$1\"; true', *sys.argv[1:]], "
    dvc += "env=os.environ | {'DVC_STAGE': 'train_cgan'})"
    with subprocess.Popen(
        [sys.executable, "-c", dvc, sys.executable, stage],
        cwd=root / "src", env={k: v for k, v in os.environ.items() if not k.startswith("DVC_")},
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.kill()
        process.wait()
        end = time.monotonic() + 400
        while psutil.pid_exists(pid):
            assert time.monotonic() < end, "the stage continues without DVC"
            time.sleep(0.1)


@pytest.mark.skipif(not hasattr(os, "getpgid"), reason="needs process groups")
@pytest.mark.parametrize("shell", ['exec "$0" -c "$1"', '"$0" -c "$1"; true'])
@pytest.mark.parametrize("outer", [{}, {"DVC_STAGE": "outer"}])
def test_a_stage_whose_dvc_was_killed_during_its_imports_does_not_start(root, shell, outer):
    stage = "import sys; sys.stdin.readline(); from condgen import preflight; "
    stage += "preflight.check_params = bool; preflight._sweep = bool; preflight.run(lambda: print('works'))"
    dvc = "import os, subprocess, sys; subprocess.run(['sh', '-c', *sys.argv[1:]], "
    dvc += "env=os.environ | {'DVC_STAGE': 'train_cgan'})"
    env = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")} | outer
    for killed in (False, True):
        with subprocess.Popen(
            [sys.executable, "-c", dvc, shell, sys.executable, stage],
            cwd=root / "src", env=env, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            while not psutil.Process(process.pid).children():
                time.sleep(0.01)
            if killed:
                process.kill()
                process.wait()
            said = process.communicate("now\n")
        gone = "condgen: the DVC that ran this stage has ended: run 'dvc repro' again\n"
        assert said == (("", gone) if killed else ("works\n", ""))


@pytest.mark.parametrize("chosen", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}], ids=str)
def test_threads_spin_briefly_unless_the_user_chose_otherwise(monkeypatch, chosen):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    preflight.prepare()
    found = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)  # prepare's own settings must not reach other tests
    assert found == (chosen or preflight.WAITING)


@pytest.mark.attack
@pytest.mark.parametrize("name", ["OMP_THREAD_LIMIT", "OMP_DYNAMIC"])
def test_a_limit_of_threads_does_not_make_a_convolution_wait_for_ever(root, name):
    script = """
        from condgen import preflight
        preflight.prepare()
        import torch
        default = torch.get_num_threads()
        torch.set_num_threads(2)
        layer = torch.nn.Conv2d(1, 32, 3)
        layer(torch.zeros(64, 1, 28, 28)).sum().backward()
        print(default)
    """
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    env[name] = {"OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "TRUE"}[name]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=root / "src", env=env, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.stderr.strip() == (
        f"condgen: {name}: not used, because PyTorch would wait for ever for missing threads"
    )
    if name == "OMP_THREAD_LIMIT":
        assert done.stdout == "1\n", "where no other number is asked for, the limit holds"
