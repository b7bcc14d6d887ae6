"""What the trainers share: devices, progress, the record of an epoch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from condgen import cvae, files, training
from condgen.errors import UserError


class Listener:
    def __init__(self):
        self.heard = []

    def epoch(self, epoch, numbers, images=None):
        self.heard.append((epoch, dict(numbers), images))


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "gpu"])
def test_an_unknown_device_is_said_with_what_is_allowed(monkeypatch, name):
    monkeypatch.setenv("CONDGEN_DEVICE", name)
    with pytest.raises(UserError, match=r"CONDGEN_DEVICE is .*allowed are cuda, mps, cpu"):
        training.choose_device()


def test_a_device_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="this machine has none"):
        training.choose_device()


def test_a_gpu_whose_number_is_too_high_is_said(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cuda:99")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="'cuda:99', but this machine has none"):
        training.choose_device()


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("CONDGEN_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.choose_device() == torch.device("cpu")


def test_the_best_device_there_is_is_taken(monkeypatch):
    monkeypatch.delenv("CONDGEN_DEVICE", raising=False)
    asked = []
    monkeypatch.setattr(torch, "empty", lambda *a, device: asked.append(device.type))
    for there, expected in (((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there[0])
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there[1])
        assert training.choose_device().type == asked[-1] == expected


def test_an_epochs_line_comes_at_once_through_a_pipe(root):
    script = (
        f"import sys, time; sys.path.insert(0, {str(root / 'src')!r})\n"
        "from condgen import training\n"
        "training.Progress('toy', 2).line(1, {'loss': 0.5})\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        process.kill()
    assert line.startswith("toy 1/2  loss 0.5")


def test_a_record_keeps_every_epoch_and_tells_the_log_of_each(capsys):
    progress, log = training.Progress("toy", 2), Listener()
    pictures = iter(
        np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(100, 1).repeat(28, 2).repeat(28, 3)
    )

    def epochs():
        for epoch in (1, 2):
            for _ in progress.batches(epoch, [(torch.zeros(5), None)] * 4, 4):
                pass
            yield epoch, {"loss": 1 / epoch}

    rows, history = training.record(epochs(), progress, log, draw=lambda: next(pictures))
    assert rows == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    assert history.shape == (2, 100, 28, 28)
    assert [int(h.max()) for h in history] == [1, 2]
    assert [epoch for epoch, _, _ in log.heard] == [0, 1, 2]
    assert log.heard[1][1]["loss"] == 1.0
    assert log.heard[1][1]["images_per_second"] > 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "one line an epoch where there is no terminal"
    assert lines[1].startswith("toy 2/2  loss 0.5")


def test_divergence_stops_with_the_loss_and_the_epoch():
    epochs = [(1, {"loss": 1.0}), (2, {"loss": float("nan")}), (3, {"loss": 1.0})]
    with pytest.raises(UserError, match="loss is nan after epoch 2"):
        training.record(iter(epochs), training.Progress("toy", 3), Listener())


def test_a_mean_weighs_batches_by_their_images():
    mean = training.Mean()
    mean.add({"loss": torch.tensor(1.0)}, 30)
    mean.add({"loss": torch.tensor(4.0)}, 10)
    assert mean.read("train_") == {"train_loss": pytest.approx(1.75)}


def test_fixed_noise_is_ten_of_each_digit_and_depends_on_the_seed():
    z, labels = training.fixed_noise(0, 5, torch.device("cpu"))
    assert z.shape == (100, 5)
    assert torch.bincount(labels).tolist() == [10] * 10
    assert not torch.equal(z, training.fixed_noise(1, 5, torch.device("cpu"))[0])


def test_files_that_do_not_fit_one_another_are_said(cvae_params, tmp_path):
    model = cvae.build(cvae_params, seed=0)
    files.write_model(tmp_path, model.state_dict(), model.config | {"model": "cvae", "hidden": 100})
    with pytest.raises(UserError, match="the files of the CVAE do not fit"):
        training.restore(cvae.CVAE, *files.read_model(tmp_path))
    files.write_model(tmp_path, model.state_dict(), model.config | {"model": "cvae"})
    again = training.restore(cvae.CVAE, *files.read_model(tmp_path))
    assert torch.equal(again.decoder.weight, model.decoder.weight)
    assert not again.training
