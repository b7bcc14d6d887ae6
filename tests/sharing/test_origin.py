"""The numbers that are said of a model are those of this model, by dvc.lock, or none."""

import json
from pathlib import Path

import pytest
import yaml

from condgen.base import files, pipeline
from condgen.base.errors import UserError
from condgen.models import cgan, split_state
from condgen.sampling import generator
from condgen.sharing import origin
from specs import DIGITS

RESULTS = files.read_json(Path(__file__).resolve().parents[2] / "docs/results/evaluate.json")


@pytest.fixture
def run(tmp_path, cgan_params):
    """What a run leaves of a CGAN, and its dvc.lock."""
    files.write_model(
        tmp_path / "data/models/cgan", *split_state(cgan.build(cgan_params, DIGITS, 0).eval(), "cgan")
    )
    files.write_json(tmp_path / "data/metrics/evaluate.json", RESULTS)
    model = {"path": "data/models/cgan", "md5": origin._folder_md5(tmp_path / "data/models/cgan")}
    samples = {"path": "data/samples/cgan.npz", "md5": "0" * 32}
    results = {
        "path": "data/metrics/evaluate.json",
        "md5": pipeline.md5(tmp_path / "data/metrics/evaluate.json"),
    }
    trained = {"params.yaml": {"cgan": {"lr": 0.5}, "seed": 7, "threads": 2, "split": {"validation": 9}}}
    stages = {
        "train_cgan": {"params": trained, "outs": [model]},
        "sample": {"deps": [model], "outs": [samples]},
        "evaluate": {"deps": [samples], "outs": [results]},
    }
    write_lock(tmp_path, stages)
    return tmp_path, stages


def write_lock(root, stages):
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def find(root):
    folder = root / "data/models/cgan"
    return origin.find(folder, generator.load(folder))


def test_of_a_finished_run_parameters_and_numbers_are_known(run):
    root, _ = run
    found = find(root)
    assert found.params == {"cgan.lr": 0.5, "seed": 7, "split.validation": 9}
    assert found.results["cgan"]["recall"] == RESULTS["cgan"]["recall"]
    assert "cvae" not in found.results
    json.dumps(found.results, allow_nan=False)


def test_numbers_of_another_model_are_not_given(run):
    root, _ = run
    files.write_json(root / "data/metrics/evaluate.json", RESULTS | {"more": 1})
    assert find(root).results == {}
    assert find(root).params["cgan.lr"] == 0.5
    (root / "data/metrics/evaluate.json").unlink()
    assert find(root).results == {}


@pytest.mark.parametrize("stage", ["sample", "evaluate"])
def test_numbers_of_samples_of_another_model_are_not_given(run, stage):
    root, stages = run
    stages[stage]["deps"] = [dict(stages[stage]["deps"][0], md5="1" * 32)]
    write_lock(root, stages)
    assert find(root).results == {}


def test_of_a_model_that_was_trained_since_nothing_is_known(run):
    root, _ = run
    config = files.read_json(root / "data/models/cgan/config.json")
    files.write_json(root / "data/models/cgan/config.json", dict(reversed(config.items())))
    assert find(root) == origin.Origin({}, {})


def test_of_a_folder_of_its_own_nothing_is_known_and_a_damaged_file_is_said(run, tmp_path):
    root, _ = run
    (root / "data/models/cgan").rename(root / "elsewhere")
    model = generator.load(root / "elsewhere")
    assert origin.find(root / "elsewhere", model) == origin.Origin({}, {})
    for results, said in ((1, "TypeError"), ({"cgan": {}}, "results lack classes, classifier, data, inter")):
        content = {"params": {}, "results": results, "recipe": ""}
        files.write_json(root / "elsewhere/origin.json", content)
        with pytest.raises(UserError, match=rf"origin.json is damaged.*{said}"):
            origin.find(root / "elsewhere", model)


def test_a_folders_hash_is_dvcs(tmp_path):
    """Computed by DVC 3.67, `dvc add`, of a folder with these files."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b/c.txt").write_text("two")
    assert origin._folder_md5(tmp_path) == "9ac7ba4a4409640ebaa596b7fe84d343.dir"
