"""dvc.yaml names what each stage really uses: DVC does not follow imports."""

import ast
import re

import pytest
import yaml

from condgen import MOVED, cgan, classifier, cvae, data, download, evaluation, sampling

STAGES = ["download", "train_classifier", "train_cvae", "train_cgan", "sample", "evaluate"]
# They change no output (DESIGN: "tracking is left out of deps on purpose").
NO_OUTPUT = {"tracking", "preflight"}
# Files a module reads beside itself.
READS = {"report": {"src/condgen/reporting/report.html.j2"}}


def imports(path):
    """Modules of condgen that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "condgen":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("condgen."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("condgen.")}
    return found - NO_OUTPUT


def place(module):
    own = {name: f"{name}/__init__" for name in ("training", "sampling", "evaluation")}
    return (MOVED | own).get(module, module).replace(".", "/")


def closure(root, path):
    """All files of the package that a stage runs."""
    modules, todo = set(), imports(path)
    while todo:
        module = todo.pop()
        modules.add(module)
        todo |= imports(root / f"src/condgen/{place(module)}.py") - modules
    return {f"src/condgen/{place(m)}.py" for m in modules} | {f for m in modules for f in READS.get(m, ())}


@pytest.fixture(scope="module")
def pipeline(root):
    return yaml.safe_load((root / "dvc.yaml").read_text())


def test_the_stages_are_the_owners(pipeline):
    assert list(pipeline["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_imports_and_the_files_it_reads(root, pipeline, stage):
    spec, script = pipeline["stages"][stage], root / f"stages/{stage}.py"
    code = {dep for dep in spec["deps"] if not dep.startswith("data/")}
    assert code == closure(root, script) | {f"stages/{stage}.py"}
    assert spec["cmd"] == f"python stages/{stage}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_data_deps_and_outs_are_the_files_the_stage_names(root, pipeline, stage):
    """Every path below data/ in the script is declared, and every declared one is in the script."""
    spec, text = pipeline["stages"][stage], (root / f"stages/{stage}.py").read_text()
    for constant, value in re.findall(r'^([A-Z]+) = "(data/[\w/]+)"$', text, re.MULTILINE):
        text = re.sub(rf'\b{constant} \+ "', f'"{value}', text)
        text = re.sub(rf"\b{constant}\b", f'"{value}"', text)
    named = {
        (path.replace("%s", model, 1)).rstrip("/")
        for path in re.findall(
            r'"(data/[\w./%]+)"', text.replace('"data/models/" + name', '"data/models/%s"')
        )
        for model in ("cvae", "cgan")
        if path != "data/models/"
    }
    named = {
        path.replace("%s", kind)
        for path in named
        for kind in (("samples", "history") if "%s" in path else ("",))
    }
    declared = [dep for dep in spec["deps"] if dep.startswith("data/")]
    declared += [*spec["outs"], *(key for entry in spec.get("metrics", []) for key in entry)]
    undeclared = {p for p in named if not any(p == d or p.startswith(d + "/") for d in declared)}
    unnamed = {d for d in declared if not any(p == d or p.startswith(d + "/") for p in named)}
    assert (undeclared, unnamed) == (set(), set())


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_the_stage_reads(root, pipeline, stage):
    text = (root / f"stages/{stage}.py").read_text()
    listed = pipeline["stages"][stage].get("params", [])
    sections = {
        s.__name__: s.section
        for s in (
            data.SplitParams,
            classifier.ClassifierParams,
            cvae.CVAEParams,
            cgan.CGANParams,
            sampling.SampleParams,
            evaluation.EvaluateParams,
        )
    }
    read = set(re.findall(r"params\.read\(\w+\.(\w+)\)", text))
    expected = {sections[name] for name in read - {"DataParams"}}
    expected |= {key for key in ("seed", "threads") if f"read_{key}()" in text}
    if "DataParams" in read:
        # How long to wait for a mirror changes nothing in the images.
        expected |= {f"data.{key}" for key in download.DataParams.model_fields if key != "timeout"}
    assert set(listed) == expected


def test_a_change_of_one_model_does_not_touch_the_other(pipeline):
    other = {"train_cvae": "cgan", "train_cgan": "cvae"}
    for stage, module in other.items():
        assert f"src/condgen/models/{module}.py" not in pipeline["stages"][stage]["deps"]
        assert module not in pipeline["stages"][stage]["params"]


def test_only_tracking_and_serving_know_mlflow_and_what_a_stage_imports_of_it_does_not(root):
    package = root / "src/condgen"
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.MULTILINE)
    }
    parts = {"delivery", "lineage", "registry", "store"}
    assert users == {"sampling/serving.py"} | {f"tracking/{part}.py" for part in parts}


def test_analytics_are_off(root):
    assert "analytics = false" in (root / ".dvc/config").read_text()
