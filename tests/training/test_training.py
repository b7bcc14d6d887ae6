"""What all trainings share: the device, progress, and the record of an epoch."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from condgen.base import files
from condgen.base.device import choose_device
from condgen.base.errors import UserError
from condgen.models import cgan, cvae, restore
from condgen.training.history import fixed_noise
from condgen.training.loop import record, train
from condgen.training.mean import Mean
from condgen.training.progress import Progress
from condgen.training.state import State, begin
from specs import DIGITS


class Forgetful:
    """A checkpoint that saves nothing."""

    def save(self, state):
        pass


class Listener:
    def __init__(self):
        self.heard = []

    def epoch(self, epoch, numbers, images=None):
        self.heard.append((epoch, dict(numbers), images))


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "gpu"])
def test_an_unknown_device_is_refused_with_the_allowed_ones(monkeypatch, name):
    monkeypatch.setenv("CONDGEN_DEVICE", name)
    with pytest.raises(UserError, match=r"CONDGEN_DEVICE is .*but must be one of cuda, mps, cpu"):
        choose_device(2)


def test_an_absent_device_is_refused(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="this machine has none"):
        choose_device(2)


def test_a_gpu_number_that_is_too_high_is_refused(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cuda:99")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="'cuda:99', but this machine has none"):
        choose_device(2)


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(2) == torch.device("cpu")


def test_the_best_available_device_is_chosen(monkeypatch):
    monkeypatch.delenv("CONDGEN_DEVICE", raising=False)
    asked = []
    monkeypatch.setattr(torch, "empty", lambda *a, device: asked.append(device.type))
    for there, expected in (((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there[0])
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there[1])
        assert choose_device(2).type == asked[-1] == expected


def test_an_epochs_line_is_flushed_to_a_pipe(root):
    script = (
        f"import sys, time; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from condgen.training.progress import Progress\n"
        "Progress('toy', 2).line(1, {'loss': 0.5})\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        process.kill()
    assert line.startswith("toy 1/2  loss 0.5")


def test_the_thread_count_comes_from_params_and_not_from_the_environment(root):
    # In its own process: OMP_NUM_THREADS is read once.
    script = (
        f"import sys; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from condgen.evaluation import metrics\n"  # everything that evaluate imports, with SciPy
        "from condgen.base.device import choose_device\n"
        "import threadpoolctl, torch\n"
        "choose_device(3)\n"
        "print(torch.get_num_threads(), *{pool['num_threads'] for pool in threadpoolctl.threadpool_info()})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CONDGEN_DEVICE": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["3", "3"]


def pictures():
    numbered = np.arange(9, dtype=np.uint8)[:, None, None, None]
    return iter(numbered.repeat(100, 1).repeat(28, 2).repeat(28, 3))


def fresh_state():
    return State(torch.nn.Linear(1, 1), {})


def test_every_epoch_is_recorded_saved_and_logged(capsys):
    progress, log, state, drawn = Progress("toy", 2), Listener(), fresh_state(), pictures()
    kept = []

    class Keeper:
        def save(self, state):
            kept.append((state.epoch, len(state.pictures)))

    def epochs():
        for epoch in (1, 2):
            for _ in progress.batches(epoch, [(torch.zeros(5), None)] * 4, 4):
                pass
            yield epoch, {"loss": 1 / epoch}

    record(epochs(), state, progress, log, Keeper(), draw=lambda: next(drawn))
    assert state.rows == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    assert [int(picture.max()) for picture in state.pictures] == [0, 1, 2]
    assert kept == [(1, 2), (2, 3)], "an epoch is saved when it is complete, with its pictures"
    assert [epoch for epoch, _, _ in log.heard] == [0, 1, 2]
    assert log.heard[1][1]["loss"] == 1.0
    assert log.heard[1][1]["images_per_second"] > 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "one line per epoch without a terminal"
    assert lines[1].startswith("toy 2/2  loss 0.5")


@pytest.mark.parametrize("draws", [True, False])
def test_the_log_of_a_resumed_training_includes_the_earlier_epochs(draws):
    state, drawn = fresh_state(), pictures()
    draw = (lambda: next(drawn)) if draws else None
    record(
        iter([(1, {"loss": 4.0}), (2, {"loss": 3.0})]), state, Progress("toy", 3), Listener(),
        Forgetful(), draw,
    )  # fmt: skip
    log = Listener()
    record(
        iter([(3, {"loss": 2.0})]), state, Progress("toy", 3), log, Forgetful(), draw
    )  # fmt: skip
    losses = [(epoch, numbers["loss"]) for epoch, numbers, _ in log.heard if numbers]
    assert losses == [(1, 4.0), (2, 3.0), (3, 2.0)]
    shown = [(epoch, int(images.max())) for epoch, _, images in log.heard if images is not None]
    assert shown == ([(0, 0), (1, 1), (2, 2), (3, 3)] if draws else [])


def test_divergence_stops_with_an_error_that_names_loss_step_and_epoch():
    mean = Mean(9)
    mean.add({"d_loss": torch.ones(3), "g_loss": torch.ones(3)})
    mean.add({"d_loss": torch.ones(3), "g_loss": torch.tensor([1, float("inf"), float("nan")])})
    mean.add({"d_loss": torch.ones(3), "g_loss": torch.full((3,), float("nan"))})

    def epochs():
        yield 1, {"d_loss": 1.0}
        yield 2, mean.compute()

    state = fresh_state()
    with pytest.raises(UserError, match=r"toy: g_loss is inf in step 2 of epoch 2: .* smaller toy\.lr"):
        record(epochs(), state, Progress("toy", 3), Listener(), Forgetful())
    assert state.epoch == 1, "the epoch before it is kept"


def test_divergence_in_validation_is_reported_after_the_epoch():
    mean = Mean(5)
    mean.add({"loss": torch.full((5,), float("nan"))})  # all validation images at once: there are no steps

    def epochs():
        yield 1, mean.compute("val_")

    with pytest.raises(UserError, match="val_loss is nan after epoch 1: training diverged"):
        record(epochs(), fresh_state(), Progress("toy", 3), Listener(), Forgetful())


@pytest.mark.parametrize("name", ["cvae", "cgan"])
def test_nan_weights_stop_the_training_in_its_first_step(name, split, cvae_params, cgan_params):
    module, p = {"cvae": (cvae, cvae_params), "cgan": (cgan, cgan_params)}[name]
    state = begin(module, p, DIGITS, 0, len(split.train))
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))  # what an overflow leaves behind
    progress = Progress(name, 2)
    epochs = train(module, state, split, p, 0, progress)
    with pytest.raises(UserError, match=rf"{name}: \w+ is nan in step 1 of epoch 1"):
        record(epochs, state, progress, Listener(), Forgetful())


def test_a_mean_is_over_images_not_over_batches():
    mean = Mean(40)
    mean.add({"loss": torch.full((30,), 1.0)})
    mean.add({"loss": torch.full((10,), 4.0)})
    assert mean.compute("train_") == {"train_loss": pytest.approx(1.75)}


def test_fixed_noise_is_ten_of_each_digit_and_depends_on_the_seed():
    z, labels = fixed_noise(DIGITS, 0, 5, torch.device("cpu"))
    assert z.shape == (100, 5)
    assert torch.bincount(labels).tolist() == [10] * 10
    assert not torch.equal(z, fixed_noise(DIGITS, 1, 5, torch.device("cpu"))[0])


def test_a_config_that_does_not_fit_the_weights_is_refused(cvae_params, tmp_path):
    model = cvae.build(cvae_params, DIGITS, seed=0)
    files.write_model(tmp_path, model.state_dict(), model.config | {"model": "cvae", "hidden": 100})
    with pytest.raises(UserError, match="the files of the CVAE do not fit"):
        restore(cvae, *files.read_model(tmp_path))
    files.write_model(tmp_path, model.state_dict(), model.config | {"model": "cvae"})
    again = restore(cvae, *files.read_model(tmp_path))
    assert torch.equal(again.decoder[0].weight, model.decoder[0].weight)
    assert not again.training
