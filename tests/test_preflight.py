"""A wrong Python, a missing package or a wrong value is one line on stderr, however a stage is started."""

import ast
import os
import shutil
import subprocess
import sys
import time
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
    return subprocess.run([python, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def one_line(done):
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def old_pythons():
    """Interpreters below the minimum that happen to be on this machine, by name or in pyenv."""
    cases = []
    for version in ("2.7", "3.6", "3.8", "3.10"):
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
def test_a_python_that_is_too_old_is_told_so(checkout, python, how):
    line = one_line(run(checkout, *how, python=python))
    assert "needs Python 3.11 or newer, but" in line
    assert "make repro" in line


@pytest.mark.parametrize("stage", STAGES)
def test_a_python_without_the_packages_is_told_which(checkout, stage):
    # -S: no site-packages, so nothing but the standard library.
    line = one_line(run(checkout, "-S", f"stages/{stage}.py"))
    assert "lacks the packages" in line
    assert "torch" in line
    assert "mlflow" in line
    assert "pip install -c constraints.txt" in line


@pytest.mark.parametrize("name", [*(f"stages/{s}.py" for s in STAGES), "src/condgen/preflight.py"])
def test_what_an_old_python_reads_before_it_is_told_is_written_so_that_it_can(root, name):
    """Python 2.7 knows no annotations, no f-strings, no keyword-only arguments."""
    text = (root / name).read_text()
    tree = ast.parse(text, feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    found = [node for node in ast.walk(tree) if isinstance(node, new)]
    found += [
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and (n.returns or n.args.kwonlyargs)
    ]
    assert [node.lineno for node in found] == []
    assert text.isascii()


def test_every_dependency_of_the_project_is_looked_for(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = {name.split(">")[0] for name in project["dependencies"]}
    # DVC runs the stages; the stages do not import it.
    assert set(preflight.PACKAGES.values()) == declared - {"dvc"}


@pytest.mark.parametrize("stage", ["download", "evaluate"])
def test_a_wrong_value_in_any_section_stops_every_stage_before_any_work(checkout, stage):
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("smooth: 0.05", "smooth: 0.7"))
    line = one_line(run(checkout, f"stages/{stage}.py"))
    assert "cgan.smooth is 0.7, but must be a number in [0, 0.5)" in line
    assert not (checkout / "data").exists()
    assert not (checkout / "mlflow.db").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_goes_through_the_checks(root, stage):
    text = (root / f"stages/{stage}.py").read_text()
    first = next(line for line in text.splitlines() if "import" in line and "condgen" in line)
    assert first.startswith("import condgen.preflight")
    own_package = 'os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")'
    assert f"sys.path.insert(0, {own_package})\nimport condgen.preflight" in text
    assert text.endswith('if __name__ == "__main__":\n    condgen.preflight.run(main)\n')


@pytest.mark.parametrize(("folder", "is_stage"), [("stages", True), ("tests", False)])
def test_a_stage_and_nothing_else_starts_its_courier_before_its_imports(
    checkout, tmp_path_factory, folder, is_stage
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    program = checkout / folder / "any.py"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"import os, sys; sys.path.insert(0, {str(checkout / 'src')!r}); import condgen.preflight\n"
        "assert 'torch' not in sys.modules\n"
        "from condgen.tracking import courier; print(courier._ahead and courier._ahead.args[-1], os.getcwd())"
    )
    said = run(elsewhere, str(program)).stdout.split()
    assert said == ([str(checkout / "outbox"), str(checkout)] if is_stage else ["None", str(elsewhere)])


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


def test_params_that_were_right_once_are_checked_again_when_they_or_the_code_change(checkout, monkeypatch):
    (checkout / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.setattr(preflight, "__file__", str(checkout / "src/condgen/preflight.py"))
    checked = []
    monkeypatch.setattr(preflight, "check_params", checked.append)
    monkeypatch.chdir(checkout)
    for change in (None, "params.yaml", None, "src/condgen/models/cgan.py", None):
        if change:
            (checkout / change).write_text((checkout / change).read_text() + "# changed\n")
        preflight.run(lambda: None)
    assert len(checked) == 3


@pytest.mark.slow
def test_wrong_params_are_not_remembered_as_right(checkout, monkeypatch):
    (checkout / ".dvc/tmp").mkdir(parents=True)
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("per_class: 1000 ", "per_class: 1 "))
    for _ in range(2):
        assert "sample.per_class is 1" in one_line(run(checkout, "stages/download.py"))


def test_a_stage_ends_with_the_dvc_that_runs_it(root):
    stage = "from condgen import preflight; preflight._end_with_dvc(); import os, time; "
    stage += "print(os.getpid(), flush=True); time.sleep(60)"
    # A shell between the two, as DVC has; it outlives DVC.
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
        end = time.monotonic() + 20
        while psutil.pid_exists(pid):
            assert time.monotonic() < end, "the stage goes on without DVC"
            time.sleep(0.1)


@pytest.mark.skipif(not hasattr(os, "getpgid"), reason="no process groups, by which orphans are known")
@pytest.mark.parametrize("shell", ['exec "$0" -c "$1"', '"$0" -c "$1"; true'])
@pytest.mark.parametrize("outer", [{}, {"DVC_STAGE": "outer"}])
def test_a_stage_whose_dvc_went_during_its_imports_does_not_begin(root, shell, outer):
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
        gone = "condgen: DVC, which ran this stage, is gone: run 'dvc repro' again\n"
        assert said == (("", gone) if killed else ("works\n", ""))


@pytest.mark.parametrize("main", ["lambda: None", "lambda: open('no such file')"])
def test_a_stage_ends_without_a_search_for_garbage(checkout, main):
    """That of the interpreter, a second after PyTorch's import. What is registered first is called last."""
    at_exit = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000))"
    stage = f"from condgen import preflight; preflight.check_params = bool; preflight.run({main})"
    program = f"import sys; sys.path.insert(0, 'src'); {at_exit}; {stage}"
    assert run(checkout, "-c", program).stdout == "True\n"
