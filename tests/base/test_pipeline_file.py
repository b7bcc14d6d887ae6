"""dvc.yaml decides which code a result depends on."""

import shutil

import pytest

from condgen.base import pipeline
from condgen.base.errors import UserError

UNBUILT = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture
def repository(root, tmp_path, monkeypatch):
    """A copy of the pipeline and of the code that it names."""
    for name in ("src", "stages"):
        shutil.copytree(root / name, tmp_path / name, ignore=UNBUILT)
    shutil.copy(root / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_outside_a_checkout_the_root_is_the_one_that_the_package_comes_from(root, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert pipeline.root() == root.resolve()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/er")
    assert pipeline.root() == tmp_path.resolve()


def digests():
    stages = pipeline.stages()
    return {name: pipeline.code_digest(spec) for name, spec in stages.items()}


def changed(repository, name):
    """The stages whose code digest changes when this file is edited."""
    before = digests()
    (path,) = (repository / "src/condgen").rglob(name)
    path.write_text(path.read_text() + "# edited\n")
    return {stage for stage, digest in digests().items() if digest != before[stage]}


def test_an_edit_changes_only_the_stages_that_use_the_file(repository):
    assert changed(repository, "report.py") == {"evaluate"}
    assert changed(repository, "figures.py") == {"sample", "evaluate"}
    assert changed(repository, "metrics.py") == {"evaluate"}
    assert "train_cvae" in changed(repository, "cvae.py")
    assert "train_cvae" not in changed(repository, "cgan.py")
    assert changed(repository, "delivery.py") == set(), "tracking changes no output"


def test_the_code_digest_depends_on_content_and_not_on_path_or_time(repository, root, monkeypatch):
    here = digests()
    (repository / "src/condgen/__pycache__").mkdir(exist_ok=True)
    (repository / "src/condgen/__pycache__/cvae.pyc").write_text("compiled")
    assert digests() == here
    monkeypatch.chdir(root)
    assert digests() == here


def test_every_stage_names_code_that_exists(repository):
    for name, spec in pipeline.stages().items():
        files = pipeline.code(spec)
        assert f"stages/{name}.py" in files
        assert len(files) > 3, name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stages: [", "is not YAML"),
        ("- 1", "must hold named sections"),
        ("stages: {a: 1}", "has no stages"),
        (None, "missing"),
    ],
)
def test_a_damaged_dvc_yaml_is_one_line(tmp_path, monkeypatch, text, why):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(UserError, match=f"dvc.yaml .*{why}"):
        pipeline.stages()
