"""A killed training resumes to the same result; a damaged or outdated state is not used."""

import copy
import errno
import os
import shutil
import time

import pytest
import torch

from condgen.base import device
from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.models import cgan, classifier, cvae
from condgen.training import checkpoint as resume
from condgen.training.history import fixed_noise
from condgen.training.loop import record, train
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import DIGITS

EPOCHS = 4
AVERAGED = {"ema": 0.9, "lr_schedule": "cosine"}
NARROW = {"channels": 2, "hidden": 16, "batch_size": 50}
# Name -> the model, and what differs from params.yaml.
VARIANTS = {
    "cvae": ("cvae", {}),
    "cgan": ("cgan", {}),
    "classifier": ("classifier", {}),
    "cvae-averaged": ("cvae", AVERAGED | NARROW),
    "cvae-flow": ("cvae", NARROW | {"network": "conv", "prior": "flow", "flow_hidden": 8, "kl_weight": 0.5}),
    "cvae-class": ("cvae", NARROW | {"network": "conv", "prior": "class", "layers": 2, **AVERAGED}),
    "cvae-prior": ("cvae", NARROW | {"prior": "flow", "flow_hidden": 8, "prior_epochs": 2, **AVERAGED}),
    "cgan-projection": (
        "cgan",
        {"network": "conv", "dropout": 0.0, "conditioning": "projection", "loss": "hinge"}
        | {"spectral_norm": True}
        | NARROW
        | AVERAGED,
    ),
    "cgan-relativistic": (
        "cgan",
        NARROW | {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "lr_schedule": "linear"},
    ),
}
TRAININGS = ("cvae", "cgan", "classifier", "cvae-averaged")


class Silent:
    def epoch(self, epoch, numbers, images=None):
        pass


class Killed(Exception):
    pass


class Forgetful:
    def save(self, state):
        pass


@pytest.fixture
def make(split, cvae_params, cgan_params, classifier_params):
    """(fresh state, its training, progress, drawing) of one of the variants, on few images."""

    def few(n):
        parts = (data.Images(part.x[:n], part.y[:n]) for part in (split.train, split.validation, split.test))
        return data.Split(*parts, spec=DIGITS, source="few")

    def build(name):
        progress = Progress(name, EPOCHS)
        model, changes = VARIANTS[name]
        few_images = few(100 if changes else 400)
        module, p = {
            "cvae": (cvae, cvae_params),
            "cgan": (cgan, cgan_params),
            "classifier": (classifier, classifier_params),
        }[model]
        p = p.model_copy(update=changes | {"epochs": EPOCHS - changes.get("prior_epochs", 0)})
        state = begin(module, p, DIGITS, 0, len(few_images.train))
        epochs = train(module, state, few_images, p, 0, progress)
        if name == "classifier":
            return state, epochs, progress, None
        z, labels = fixed_noise(DIGITS, 0, p.latent_dim, torch.device("cpu"))
        return state, epochs, progress, lambda: DIGITS.to_uint8(module.draw(state.trained, z, labels))

    return build


def run(make, name, checkpoint, kill_after=None):
    state, epochs, progress, draw = make(name)
    checkpoint.restore(state)

    def until_killed():
        for epoch, numbers in epochs:
            yield epoch, numbers
            if epoch == kill_after:
                raise Killed

    try:
        record(until_killed(), state, progress, Silent(), checkpoint, draw)
    except Killed:
        checkpoint._wait()
    return state


def result(state):
    return {name: value.clone() for name, value in state.tensors().items()}, copy.deepcopy(state.numbers())


def same(a, b):
    """Whether two states are equal; the time that they took is not compared."""
    (tensors, numbers), (others, other_numbers) = result(a), result(b)
    return (
        numbers | {"seconds": 0} == other_numbers | {"seconds": 0}
        and set(tensors) == set(others)
        and all(torch.equal(value, others[name]) for name, value in tensors.items())
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_killed_training_has_the_result_of_an_undisturbed_one(make, tmp_path, name, capfd):
    undisturbed = run(make, name, resume.Checkpoint(tmp_path / "a", name, {}))
    for after in (1, 2, 3):
        killed = run(make, name, resume.Checkpoint(tmp_path, name, {}), kill_after=after)
    checkpoint = resume.Checkpoint(tmp_path, name, {})
    capfd.readouterr()
    resumed = run(make, name, checkpoint)
    assert f"{name}: resumes after epoch 3, stored in " in capfd.readouterr().err
    assert [row["epoch"] for row in resumed.rows] == list(range(1, EPOCHS + 1))
    assert same(undisturbed, resumed)
    assert resumed.seconds > killed.seconds > 0, "the time of the killed processes counts"
    checkpoint.remove()
    assert list((tmp_path / "resume").iterdir()) == []


@pytest.mark.parametrize("name", TRAININGS)
def test_every_part_of_the_state_affects_the_result(make, tmp_path, name):
    undisturbed = run(make, name, resume.Checkpoint(tmp_path / "a", name, {}))
    tensors, numbers = result(run(make, name, resume.Checkpoint(tmp_path, name, {}), kill_after=2))
    fresh, fresh_numbers = result(make(name)[0])
    scheduled = ("schedules", "groups") if numbers["schedules"] else ()
    assert bool(scheduled) == (name in ("classifier", "cvae-averaged"))
    for left_out in [*tensors, "rows", *scheduled]:
        state, epochs, progress, draw = make(name)
        partial = {key: value.clone() for key, value in tensors.items()}
        partial_numbers = copy.deepcopy(numbers)
        if left_out in numbers:
            partial_numbers[left_out] = fresh_numbers[left_out]
        else:  # its value in a fresh training, or zero where that has none yet
            partial[left_out] = fresh.get(left_out, torch.zeros_like(tensors[left_out])).clone()
        try:
            state.load(partial, partial_numbers)
            record(epochs, state, progress, Silent(), Forgetful(), draw)
        except (UserError, IndexError, ValueError):
            continue  # the missing part was noticed
        assert not same(undisturbed, state), left_out


def test_a_missing_tensor_is_an_error(make, tmp_path):
    tensors, numbers = result(run(make, "cgan", resume.Checkpoint(tmp_path, "cgan", {}), kill_after=1))
    for name in tensors.keys() - {"pictures"}:
        with pytest.raises(KeyError):
            make("cgan")[0].load({key: value for key, value in tensors.items() if key != name}, numbers)


@pytest.mark.parametrize("damage", ["truncated", "empty", "a byte", "the checksum", "not ours"])
def test_a_damaged_state_is_dropped_with_a_line(make, tmp_path, damage, capfd):
    run(make, "cgan", resume.Checkpoint(tmp_path, "cgan", {}), kill_after=2)
    (path,) = (tmp_path / "resume").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "a byte":
        content[len(content) // 2] ^= 1
    elif damage == "the checksum":
        content[3] = ord("x")
    path.write_bytes(
        {"truncated": content[:-1000], "empty": b"", "not ours": b"PK\x03\x04 no newline"}.get(
            damage, content
        )
    )
    state = make("cgan")[0]
    before = result(state)[0]
    capfd.readouterr()
    resume.Checkpoint(tmp_path, "cgan", {}).restore(state)
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"cgan: {path} is damaged and was deleted: training starts from the beginning"
    assert state.epoch == 0
    assert all(torch.equal(value, before[name]) for name, value in result(state)[0].items())
    assert not path.exists()


DVC_YAML = """
stages:
  train:
    deps: [data/set.npz, src/losses, stages/train.py]
  evaluate:
    deps: [src/losses, src/report.py, stages/evaluate.py]
"""


@pytest.fixture
def recipe(tmp_path, cvae_params, monkeypatch):
    """A function: change -> path of the checkpoint, whose name depends on the recipe."""
    for name in (
        "data/set.npz",
        "src/losses/cvae.py",
        "src/report.py",
        "stages/train.py",
        "stages/evaluate.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    monkeypatch.chdir(tmp_path)
    split = data.SplitParams(validation=5000)

    def after(change=None):
        p, s, machine, seed = cvae_params, split, {"device": "cpu", "threads": 2, "torch": "2"}, 0
        if isinstance(change, dict):
            p = p.model_copy(update=change)
        elif isinstance(change, tuple):
            machine |= dict([change])
        elif change == "split":
            s = data.SplitParams(validation=4999)
        elif change == "seed":
            seed = 1
        elif change:
            (tmp_path / change).parent.mkdir(exist_ok=True)
            (tmp_path / change).write_text("two")
        return resume.Checkpoint(
            tmp_path, "train", resume.recipe("train", "data/set.npz", machine, p, s, seed=seed)
        ).path

    return after


def test_the_same_recipe_has_the_same_state_in_another_copy_of_the_repository(recipe, tmp_path, monkeypatch):
    here = recipe()
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    monkeypatch.chdir(tmp_path.with_name("copy"))
    assert recipe() == here


NOT_NUMBERS = {"conditional": False, "network": "conv", "prior": "class", "lr_schedule": "cosine"}
CHANGES = [
    *({name: NOT_NUMBERS.get(name, 3)} for name in cvae.CVAEParams.model_fields),
    "split", "seed", "src/losses/cvae.py", "src/losses/new.py", "stages/train.py", "data/set.npz",
    ("threads", 3), ("device", "cuda"), ("torch", "3"),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_other_parameters_data_code_or_machine_have_another_state(recipe, change):
    before = recipe()
    assert recipe(change) != before


@pytest.mark.parametrize("name", ["MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"])
def test_a_variable_that_changes_rounding_is_part_of_the_machine(monkeypatch, name):
    cpu = torch.device("cpu")
    monkeypatch.delenv(name, raising=False)
    before = device.machine(cpu)
    monkeypatch.setenv(name, "AVX2")
    assert device.machine(cpu) == before | {name: "AVX2"}


@pytest.mark.parametrize(
    "change", ["src/report.py", "stages/evaluate.py", "src/other.py", "src/losses/__pycache__/cvae.pyc"]
)
def test_code_that_the_stage_does_not_run_does_not_change_the_state(recipe, change):
    """Editing the report must not restart a half-finished training."""
    before = recipe()
    assert recipe(change) == before


def test_a_full_disk_is_reported_once_and_does_not_stop_the_training(make, tmp_path, capfd, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    checkpoint = resume.Checkpoint(tmp_path, "cgan", {})
    state = run(make, "cgan", checkpoint)
    checkpoint.remove()
    assert state.epoch == EPOCHS
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"cgan: {checkpoint.path} cannot be written: No space left on device")
    assert line.endswith("training continues, but cannot be resumed if it is killed")
    assert list((tmp_path / "resume").iterdir()) == [], "nothing half written"


@pytest.mark.attack
def test_a_clock_that_is_ahead_does_not_delete_the_state_to_resume_from(make, tmp_path):
    run(make, "cgan", resume.Checkpoint(tmp_path, "cgan", {}), kill_after=1)
    (path,) = (tmp_path / "resume").iterdir()
    os.utime(path, (0, 0))
    state = make("cgan")[0]
    resume.Checkpoint(tmp_path, "cgan", {}).restore(state)
    assert state.epoch == 1


def test_an_old_unused_state_is_removed(make, tmp_path, capfd):
    for stage in ("old", "new"):
        run(make, "cgan", resume.Checkpoint(tmp_path, stage, {}), kill_after=1)
    (old,) = (tmp_path / "resume").glob("old-*")
    (new,) = (tmp_path / "resume").glob("new-*")
    long_ago = time.time() - (resume.KEEP_DAYS + 1) * 86_400
    os.utime(old, (long_ago, long_ago))
    resume.Checkpoint(tmp_path, "another", {})
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "deleted" in line]
    assert line == f"another: {old}, a training that was not finished in 30 days, was deleted"
    assert not old.exists()
    assert new.exists()
