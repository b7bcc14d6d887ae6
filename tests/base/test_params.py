"""params.yaml is read as DVC reads it; a mistake is one line with the key, the value and what it must be."""

import subprocess
import sys

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.utils.serialize import load_yaml

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


def test_the_committed_file_is_valid(root):
    preflight.check_params(root / "params.yaml")


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "0.00001"])
def test_a_small_learning_rate_is_a_number_however_it_is_written(root, tmp_path, text):
    # `dvc exp run -S` writes 1e-05, which YAML 1.1 reads as a string.
    content = (root / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(content.replace("lr: 0.001 ", f"lr: {text} "))
    assert f"lr: {text} " in path.read_text()
    assert params.read(cgan.CGANParams, path).lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cgan.lr": -1}, "cgan.lr is -1, but must be a number in (0, 1]"),
        ({"cgan.lr": "fast"}, "cgan.lr is 'fast', but must be a number"),
        ({"cgan.lr": "0.1"}, "cgan.lr is '0.1', but must be a number"),
        ({"cgan.lr": float("nan")}, "cgan.lr is nan, but must be a number"),
        ({"cvae.lr": float("inf")}, "cvae.lr is inf, but must be a number"),
        ({"cgan.lrr": 0.1}, "cgan.lrr is 0.1, but cgan has no such key: it has conditional, conditioning, "),
        ({"cgan.lr": None}, "cgan.lr is missing: it must be a number in (0, 1]"),
        ({"cgan.dropout": None, "cgan.droput": 0.5}, "cgan.dropout is missing, and cgan.droput is unknown"),
        ({"cvae.epochs": 2.5}, "cvae.epochs is 2.5, but must be a whole number in [1, 100000]"),
        ({"cvae.epochs": 0}, "cvae.epochs is 0, but must be a whole number in [1, 100000]"),
        ({"cvae.epochs": True}, "cvae.epochs is True, but must be a whole number"),
        ({"cvae.epochs": "25"}, "cvae.epochs is '25', but must be a whole number"),
        ({"cvae.conditional": "no"}, "cvae.conditional is 'no', but must be true or false"),
        ({"cgan.dropout": 1}, "cgan.dropout is 1, but must be a number in [0, 0.95]"),
        ({"cgan.leak": 1}, "cgan.leak is 1, but must be a number in [0, 1)"),
        ({"cgan.batch_size": 60001}, "cgan.batch_size is 60001, but must be a whole number in [1, 60000]"),
        ({"evaluate.gan_train_epochs": 0}, "evaluate.gan_train_epochs is 0, but must be a whole number"),
        ({"cgan.loss": "wgan"}, "is 'wgan', but must be one of non-saturating, min-max, hinge, relativistic"),
        ({"cgan.generator_loss": "hinge"}, "cgan.generator_loss is 'hinge', but cgan has no such key"),
        ({"cgan.network": "cnn"}, "cgan.network is 'cnn', but must be one of mlp, conv"),
        ({"cgan.conditioning": "acgan"}, "is 'acgan', but must be one of concat, projection"),
        ({"cgan.spectral_norm": 1}, "cgan.spectral_norm is 1, but must be true or false"),
        ({"cgan.lr_ratio": 0}, "cgan.lr_ratio is 0, but must be a number in (0, 1000]"),
        ({"cgan.r1": -0.5}, "cgan.r1 is -0.5, but must be a number in [0, 1000]"),
        ({"cgan.lr_schedule": "one-cycle"}, "is 'one-cycle', but must be one of constant, linear, cosine"),
        ({"cvae.lr_schedule": None}, "cvae.lr_schedule is missing: it must be one of constant, linear"),
        ({"cvae.ema": 1}, "cvae.ema is 1, but must be a number in [0, 1)"),
        ({"cvae.prior": "vamp"}, "cvae.prior is 'vamp', but must be one of normal, class, flow"),
        ({"cvae.kl_weight": -1}, "cvae.kl_weight is -1, but must be a number in [0, 1000]"),
        ({"cvae.prior_epochs": 5}, "cvae.prior_epochs is 5, but must be 0 with cvae.prior normal"),
        ({"cvae.layers": 0}, "cvae.layers is 0, but must be a whole number in [1, 64]"),
        ({"data.source": "web"}, "data.source is 'web', but must be one of auto, mirrors, bundled"),
        ({"data.channels": 2}, "data.channels is 2, but must be one of 1, 3"),
        ({"data.side": 4}, "data.side is 4, but must be a whole number in [8, 64]"),
        ({"data.dataset": 3}, "data.dataset is 3, but must be"),
        ({"data.timeout": 0}, "data.timeout is 0, but must be a number in (0, 3600]"),
        ({"split.validation": 0}, "split.validation is 0, but must be a whole number in [1, 10000]"),
        ({"sample.table_epochs": []}, "sample.table_epochs is [], but must be a list of one or more whole"),
        ({"sample.table_epochs": [0]}, "sample.table_epochs is [0], but must be a list"),
        ({"sample.per_class": 5}, "sample.per_class is 5, but must be a whole number in [10, 100000]"),
        ({"seed": -1}, "seed is -1, but must be a whole number in [0, 4294967295]"),
        ({"seed": "a"}, "seed is 'a', but must be a whole number"),
        ({"seed": None}, "seed is missing: it must be a whole number"),
        ({"threads": 0}, "threads is 0, but must be a whole number in [1, 1024]"),
        ({"threads": True}, "threads is True, but must be a whole number"),
        ({"threads": None}, "threads is missing: it must be a whole number"),
        ({"cvae": None}, "cvae is missing: it must be a section with conditional, network"),
        ({"cvae": 3}, "cvae is 3, but must be a section with conditional, network"),
        ({"cvea": {"lr": 1}}, "cvea is {'lr': 1}, but the file has no such key: it has seed, threads, data"),
        ({"cvae": None, "cvea": {"lr": 1}}, "cvae is missing, and cvea is unknown"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_it_must_be(edit, changes, said):
    path = edit(changes)
    with pytest.raises(UserError) as caught:
        preflight.check_params(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"cgan.conditioning": "projection", "cgan.conditional": False},
            "cgan.conditioning is 'projection', which needs cgan.conditional to be true",
        ),
        ({"cgan.network": "conv"}, "cgan.dropout is 0.5, but must be 0 with cgan.network conv"),
        (
            {"cvae.prior": "class", "cvae.conditional": False},
            "cvae.prior is 'class', which needs cvae.conditional to be true",
        ),
        (
            {"cvae.prior": "flow", "cvae.conditional": False},
            "cvae.prior is 'flow', which needs cvae.conditional to be true",
        ),
        (
            {"cvae.prior": "flow", "cvae.latent_dim": 1},
            "cvae.latent_dim is 1, but must be 2 or more with cvae.prior flow",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused_in_one_line(edit, changes, said):
    path = edit(changes)
    section = cvae.CVAEParams if "cvae" in said else cgan.CGANParams
    for refuse in (preflight.check_params, lambda path: params.read(section, path)):
        with pytest.raises(UserError) as caught:
            refuse(path)
        assert str(caught.value) == f"{path}: {said}"


def test_a_wrong_value_is_reported_before_values_that_do_not_fit_together(edit):
    path = edit({"cgan.network": "conv", "cgan.lr": -1})
    with pytest.raises(UserError, match=r"cgan\.lr is -1, but must be a number in \(0, 1\]$"):
        preflight.check_params(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"cgan.network": "conv", "cgan.dropout": 0, "cgan.batch_size": 1},
        {"cgan.conditioning": "projection"},
        {"cgan.conditional": False},
        {"cvae.prior": "flow"},
        {"cvae.prior": "class", "cvae.latent_dim": 1},
        {"cvae.conditional": False},
    ],
    ids=str,
)
def test_what_fits_together_is_accepted(edit, changes):
    preflight.check_params(edit(changes))


SAME = ["0", "10", "-3", "1_000", "0x1F", "0o10", "0b11", "1:30", "1e-5", "1e-05", "1E5", "1.", ".5", "1e999",
        ".nan", "-.inf", "yes", "no", "on", "true", "True", "~", "null", "2020-01-01", "'010'", "text",
        "[1, 1e1]", "{a: yes}", "|\n  text", "!!str 1", "09.5", "&a 1"]  # fmt: skip
REFUSED = ["[", "2020-99-99", "*none", "!!python/name:os.system", "1\nx: 2", "1\n---\nx: 2", "!!bool x"]


@pytest.mark.parametrize("value", [*SAME, *REFUSED])
def test_a_value_is_read_as_dvc_reads_it_or_refused_by_both(tmp_path, value):
    path = tmp_path / "params.yaml"
    path.write_text(f"x: {value}\n")
    if value in SAME:
        ours, dvcs = params.load(path), load_yaml(path)
        assert repr(ours) == repr(dvcs)  # nan is not equal to itself
        return
    with pytest.raises((DvcException, ValueError, KeyError)):
        load_yaml(path)
    with pytest.raises(UserError, match="is not YAML") as caught:
        params.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["010", "00", "-010", "+07", "09", "0_1", "!!int '010'"])
def test_a_leading_zero_is_refused_because_yaml_1_1_reads_another_number(root, tmp_path, value):
    path = tmp_path / "params.yaml"
    path.write_text((root / "params.yaml").read_text().replace("\nseed: 0 ", f"\nseed: {value} "))
    digits = value.removeprefix("!!int ").strip("'")
    with pytest.raises(UserError) as caught:
        preflight.check_params(path)
    said = "but must be a whole number in [0, 4294967295], without leading zeros"
    assert str(caught.value) == f"{path}: seed is {digits}, {said}"


def test_a_leading_zero_in_a_list_or_as_a_number_is_refused_too(root, tmp_path):
    path = tmp_path / "params.yaml"
    for old, new in (("[1, 10, 25]", "[1, 010]"), ("timeout: 20 ", "timeout: 020 ")):
        path.write_text((root / "params.yaml").read_text().replace(old, new))
        with pytest.raises(UserError, match="without leading zeros"):
            preflight.check_params(path)


def test_what_dvc_exp_run_writes_for_a_small_number_is_a_number(root, tmp_path):
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_text((root / "params.yaml").read_text())
    apply_overrides(path, ["cgan.lr=0.00001"])
    assert "lr: 1e-05" in path.read_text()
    assert params.read(cgan.CGANParams, path).lr == 1e-5


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "\x00", "3"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"is not YAML|but must hold named sections"):
        params.read(cvae.CVAEParams, path)


def test_a_missing_file_is_reported(tmp_path):
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
        ("a: [[[", "is not YAML: expected the node content"),
        ("a: " + 3000 * "[", "is not YAML: maximum recursion depth exceeded"),
        ("seed: 0x" + 6000 * "f", "seed is a number of thousands of digits, but must be a whole"),
        ("seed: " + 6000 * "a", "seed is 'aaa"),
        ("seed: 0\nthreads: 1\ndata: {3: 4}", "data.dataset is missing, and data.3 is unknown"),
        ('"a\\nb": 1', "seed is missing, and a b is unknown"),
        ("seed: 0\nseed: 1", 'is not YAML: found duplicate key "seed" with value "1"'),
    ],
    ids=lambda value: value[:20],
)
def test_what_yaml_or_python_cannot_parse_is_one_short_line(tmp_path, text, said):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        preflight.check_params(tmp_path / "params.yaml")
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    assert len(line) < 600


def test_importing_the_models_does_not_import_yaml(root):
    code = "import sys, condgen.models.cvae, condgen.models.cgan; sys.exit('ruamel.yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root / "src", check=True)
