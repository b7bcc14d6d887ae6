"""params.yaml: every mistake is one line that names the key, the value and what is allowed."""

import pytest
import yaml

from condgen import preflight
from condgen.base import params
from condgen.base.errors import UserError
from condgen.models import cgan, cvae


@pytest.fixture
def edit(root, tmp_path):
    """Writes params.yaml with some values changed; None removes the key."""

    def write(changes):
        content = yaml.safe_load((root / "params.yaml").read_text())
        for dotted, value in changes.items():
            section, _, key = dotted.rpartition(".")
            target = content[section] if section else content
            if value is None:
                del target[key]
            else:
                target[key] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_the_file_as_committed_is_valid(root):
    preflight.check_params(root / "params.yaml")


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "0.00001"])
def test_a_small_learning_rate_is_a_number_however_it_is_written(root, tmp_path, text):
    # YAML 1.1 reads 1e-05, which `dvc exp run -S` writes, as a string.
    content = (root / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(content.replace("lr: 0.001 ", f"lr: {text} "))
    assert f"lr: {text} " in path.read_text()
    assert params.read(cgan.CGANParams, path).lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cgan.lr": -1}, "cgan.lr is -1: allowed is a number, greater than 0, at most 1"),
        ({"cgan.lr": "fast"}, "cgan.lr is 'fast': allowed is a number"),
        ({"cgan.lr": float("nan")}, "cgan.lr is nan: allowed is a number"),
        ({"cvae.lr": float("inf")}, "cvae.lr is inf: allowed is a number"),
        ({"cvae.lr": "1e999"}, "cvae.lr is '1e999': allowed is a number"),
        ({"cgan.lrr": 0.1}, "cgan.lrr is 0.1, but there is no such key: allowed are conditional, hidden"),
        ({"cgan.lr": None}, "cgan.lr is missing: allowed is a number"),
        ({"cvae.epochs": 2.5}, "cvae.epochs is 2.5: allowed is a whole number, at least 1"),
        ({"cvae.epochs": 0}, "cvae.epochs is 0: allowed is a whole number, at least 1"),
        ({"cvae.epochs": True}, "cvae.epochs is True: allowed is a whole number"),
        ({"cvae.epochs": "25"}, "cvae.epochs is '25': allowed is a whole number"),
        ({"cvae.conditional": "no"}, "cvae.conditional is 'no': allowed is true or false"),
        ({"cgan.dropout": 1}, "cgan.dropout is 1: allowed is a number, at least 0, at most 0.95"),
        (
            {"cgan.batch_size": 3601},
            "cgan.batch_size is 3601: allowed is a whole number, at least 1, at most 3600",
        ),
        ({"evaluate.gan_train_epochs": 0}, "evaluate.gan_train_epochs is 0: allowed is a whole number"),
        ({"cgan.generator_loss": "hinge"}, "is 'hinge': allowed is one of non-saturating, min-max"),
        ({"data.source": "web"}, "data.source is 'web': allowed is one of auto, mirrors, bundled"),
        ({"data.dataset": "CIFAR10"}, "allowed is one of MNIST, FashionMNIST, KMNIST"),
        ({"data.timeout": 0}, "data.timeout is 0: allowed is a number, greater than 0"),
        ({"split.validation": 0}, "split.validation is 0: allowed is a whole number, at least 1"),
        ({"sample.table_epochs": []}, "sample.table_epochs is []: allowed is a list of whole numbers"),
        ({"sample.table_epochs": [0]}, "sample.table_epochs is [0]: allowed is a list"),
        ({"sample.per_class": 5}, "sample.per_class is 5: allowed is a whole number, at least 10"),
        ({"seed": -1}, "seed is -1: allowed is a whole number, at least 0"),
        ({"seed": "a"}, "seed is 'a': allowed is a whole number"),
        ({"seed": None}, "seed is missing"),
        ({"threads": 0}, "threads is 0: allowed is a whole number, at least 1, at most 1024"),
        ({"threads": True}, "threads is True: allowed is a whole number"),
        ({"threads": None}, "threads is missing: allowed is a whole number"),
        ({"cvae": None}, "the section cvae is missing"),
        ({"cvae": 3}, "cvae is 3: allowed is a section with conditional, hidden"),
        ({"cgna": {"lr": 1}}, "cgna is not a known section: allowed are seed, threads, data"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(edit, changes, said):
    path = edit(changes)
    with pytest.raises(UserError) as caught:
        preflight.check_params(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "\x00"])
def test_a_file_that_is_no_mapping_is_said_to_be_none(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"is not YAML|must hold named sections"):
        params.read(cvae.CVAEParams, path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        params.read_seed(tmp_path / "params.yaml")


def test_flat_names_every_value(root):
    flat = params.flat(root / "params.yaml")
    assert flat["seed"] == 0
    assert flat["cgan.lr"] == 0.001
    assert flat["sample.table_epochs"] == [1, 10, 25]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 2020-99-99", "is not YAML: month must be in 1..12"),
        ("seed: !!bool x", "is not YAML: 'x'"),
        ("a: [[[", "is not YAML: while parsing a flow node expected"),
        ("a: " + 3000 * "[", "is not YAML: maximum recursion depth exceeded"),
        ("seed: 0x" + 6000 * "f", "seed is a number of thousands of digits: allowed is a whole number"),
        ("seed: " + 6000 * "a", "seed is 'aaa"),
        ("seed: 0\nthreads: 1\ndata: {3: 4}", "data has the key 3: allowed are dataset, source, timeout"),
        ('"a\\nb": 1', "a b is not a known section: allowed are seed"),
    ],
    ids=lambda value: value[:20],
)
def test_what_yaml_or_python_choke_on_is_one_short_line(tmp_path, text, said):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        preflight.check_params(tmp_path / "params.yaml")
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    assert len(line) < 600
