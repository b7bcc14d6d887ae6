"""dvc.yaml declares all that each stage uses: DVC does not follow imports."""

import ast
import itertools
import re
import subprocess
import sys

import pytest

from condgen.base import files, params, pipeline
from condgen.datasets import data, download
from condgen.evaluation.params import EvaluateParams
from condgen.models import MODELS, cgan, classifier, cvae
from condgen.reporting import report
from condgen.sampling import latent

STAGES = ["download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"]
# They change no output, so no stage lists them.
NO_OUTPUT = ("src/condgen/tracking/", "src/condgen/preflight.py", "src/condgen/__init__.py")
# What each subpackage may import.
ARROWS = {
    "base": set(),
    "datasets": {"base"},
    "models": {"base", "datasets"},
    "training": {"base", "datasets", "models"},
    "sampling": {"base", "datasets", "models"},
    "evaluation": {"base", "datasets", "models", "training", "sampling"},
    "reporting": {"base", "datasets", "models", "training", "sampling", "evaluation"},
    "sharing": {"base", "datasets", "models", "sampling", "evaluation", "reporting"},
    "tracking": {"base"},
}
IMPORTED = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("stage", sys.argv[1])
stage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stage)
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps([file for file in files if file and "condgen" in file]))
"""


def imports(path):
    """The modules of condgen that a file imports, at any place in it, as "base.files"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "condgen":
            inside = node.module.removeprefix("condgen").removeprefix(".")
            found |= {f"{inside}.{alias.name}".strip(".") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("condgen.") for a in node.names if a.name.startswith("condgen.")}
    return found


def closure(root, path):
    """All files of the package that a stage imports, except those that change no output."""
    found, todo = set(), [path]
    while todo:
        reading = todo.pop()
        names = imports(reading)
        if reading.name == "generator.py":  # it imports the models by name
            names |= {f"models.{model}" for model in MODELS}
        for name in names:
            for parts in itertools.accumulate(name.split("."), "{}/{}".format):
                for file in (f"src/condgen/{parts}.py", f"src/condgen/{parts}/__init__.py"):
                    if (root / file).is_file() and file not in found and not file.startswith(NO_OUTPUT):
                        found.add(file)
                        todo.append(root / file)
    return found


@pytest.fixture(scope="module")
def stages(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return pipeline.stages()


def declared_code(stages, stage):
    return [dep for dep in stages[stage]["deps"] if not dep.startswith("data/")]


def covers(declared, file):
    return any(file == dep or file.startswith(dep + "/") for dep in declared)


def test_the_pipeline_has_these_stages_in_this_order(stages):
    assert list(stages) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_that_it_imports_and_no_other(root, stages, stage):
    declared = declared_code(stages, stage)
    used = closure(root, root / f"stages/{stage}.py") | {f"stages/{stage}.py"}
    assert {file for file in used if not covers(declared, file)} == set()
    assert {dep for dep in declared if not any(covers([dep], file) for file in used)} == set()
    assert stages[stage]["cmd"] == f"python stages/{stage}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_loads_is_declared(root, stages, stage):
    """Imports whose names are computed, too."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, f"stages/{stage}.py"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {
        "src/" + file.partition("/src/")[2]
        for file in ast.literal_eval(done.stdout)
        if "/src/condgen/" in file
    }
    assert "src/condgen/tracking/__init__.py" in loaded
    undeclared = {file for file in loaded if not covers(declared_code(stages, stage), file)}
    assert {file for file in undeclared if not file.startswith(NO_OUTPUT)} == set()


def test_subpackages_import_only_what_they_may(root):
    package = root / "src/condgen"
    wrong = {}
    for room, allowed in ARROWS.items():
        for path in (package / room).rglob("*.py"):
            used = {name.split(".")[0] for name in imports(path)} - {room, ""}
            if used - allowed:
                wrong[path.relative_to(package).as_posix()] = used - allowed
    # MLflow stores the file of the served model: tracking passes it on, and imports its signature.
    assert wrong == {"tracking/delivery.py": {"sampling"}}
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {*ARROWS, "experiments", "sweeps", "team"}


def test_models_import_no_training_yaml_plots_or_mlflow(root):
    done = subprocess.run(
        [sys.executable, "-c", "import sys, condgen.models.cvae, condgen.models.cgan; print(*sys.modules)"],
        cwd=root / "src", capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & {"mlflow", "yaml", "ruamel.yaml", "matplotlib", "condgen.training"}


def paths_below_data(root, stage):
    """The paths that a stage's script names, with {name} replaced by each model."""
    found = set()
    tree = ast.parse((root / f"stages/{stage}.py").read_text())
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "{name}" for p in node.values]
            found |= {"".join(parts).replace("{name}", model) for model in MODELS}
    return {path for path in found if re.fullmatch(r"(data|docs)/[\w/]+(\.\w+)?", path)}


@pytest.mark.parametrize("stage", STAGES)
def test_data_deps_and_outs_are_the_files_the_stage_names(root, stages, stage):
    """Every path below data/ and docs/ in the script is declared, and every declared one is in the script."""
    spec, named = stages[stage], paths_below_data(root, stage)
    declared = [dep for dep in spec["deps"] if dep.startswith("data/")] + pipeline.outs(spec)
    if stage == "download":  # which set it reads is a parameter
        declared.remove("data/sets/${data.dataset}")
    undeclared = {p for p in named if not any(p == d or p.startswith(d + "/") for d in declared)}
    unnamed = {d for d in declared if not any(p == d or p.startswith(d + "/") for p in named)}
    assert (undeclared, unnamed) == (set(), set())


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_the_stage_reads(root, stages, stage):
    text = (root / f"stages/{stage}.py").read_text()
    listed = stages[stage].get("params", [])
    sections = {
        s.__name__: s.section
        for s in (
            data.SplitParams,
            classifier.ClassifierParams,
            cvae.CVAEParams,
            cgan.CGANParams,
            latent.SampleParams,
            EvaluateParams,
        )
    }
    # RegistryParams: which model becomes champion changes no output.
    read = set(re.findall(r"params\.read\((?:\w+\.)?(\w+)\)", text)) - {"RegistryParams"}
    expected = {sections[name] for name in read - {"DataParams"}}
    expected |= {key for key in ("seed", "threads") if f"read_{key}()" in text}
    if "DataParams" in read:
        # The timeout of a mirror does not change the images.
        expected |= {f"data.{key}" for key in download.DataParams.model_fields if key != "timeout"}
    if "params.flat()" in text:  # the page lists all that have an influence
        flat = params.flat(root / "params.yaml")
        expected |= {key if key.startswith("data.") else key.split(".")[0]
                     for key in flat if report.shapes_results(key)}  # fmt: skip
    assert set(listed) == expected


def test_dvc_shows_ten_metrics_and_git_keeps_the_files_with_all_numbers(root):
    spec = params.load(root / "dvc.yaml")
    metrics = [entry for stage in spec["stages"].values() for entry in stage.get("metrics", [])]
    assert [list(entry) for entry in metrics] == [["data/metrics/summary.json"]]
    summary = files.read_json(root / "data/metrics/summary.json")
    assert list(summary) == list(MODELS)
    assert sum(map(len, summary.values())) == 10
    listed = [out for stage in spec["stages"].values() for out in (*stage["outs"], *stage.get("metrics", []))]
    kept = {next(iter(out)): out for out in listed if isinstance(out, dict)}
    assert set(kept) == {f"data/metrics/{name}.json" for name in (*STAGES, "summary")}
    assert all(options == {"cache": False} for out in kept.values() for options in out.values())


def test_every_curve_of_dvc_has_a_title_and_both_axes_a_name(root):
    plots = params.load(root / "dvc.yaml")["plots"]
    curves = [options for entry in plots if isinstance(entry, dict) for options in entry.values()]
    assert len(curves) == 7
    for options in curves:
        assert all(options.get(name) for name in ("title", "x_label", "y_label")), options


def test_a_change_of_one_model_does_not_retrain_the_other(stages):
    other = {"train_cvae": "cgan", "train_cgan": "cvae", "train_classifier": "cvae"}
    for stage, module in other.items():
        assert not covers(stages[stage]["deps"], f"src/condgen/models/{module}.py")
        assert module not in stages[stage]["params"]


def test_only_tracking_and_serving_import_mlflow(root):
    package = root / "src/condgen"
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.MULTILINE)
    }
    parts = {"cleaning", "delivery", "health", "lineage", "registry", "store"}
    assert users == {"sampling/serving.py"} | {f"tracking/{part}.py" for part in parts}


def test_dvc_ignores_compiled_code(root):
    assert "__pycache__" in (root / ".dvcignore").read_text().splitlines()


def test_analytics_are_off(root):
    assert "analytics = false" in (root / ".dvc/config").read_text()
