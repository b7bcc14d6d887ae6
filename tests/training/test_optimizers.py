"""The step sizes and the average of the weights are the formulas', and the average is what draws."""

import copy
import math

import pytest
import torch

from condgen.datasets import data
from condgen.models import cgan, cvae
from condgen.training import loop
from condgen.training.history import fixed_noise
from condgen.training.loop import record, train
from condgen.training.optimizers import average
from condgen.training.progress import Progress
from condgen.training.state import begin
from specs import DIGITS

NARROW = {"channels": 2, "hidden": 8, "latent_dim": 2, "batch_size": 20, "epochs": 2}
MODELS = ("cvae", "cgan")


class Silent:
    """A log that shows nothing and a checkpoint that keeps nothing."""

    def epoch(self, epoch, numbers, images=None):
        pass

    def save(self, state):
        pass

    def restore(self, state):
        pass


@pytest.fixture
def few(split):
    parts = (data.Images(part.x[:50], part.y[:50]) for part in (split.train, split.validation, split.test))
    return data.Split(*parts, spec=DIGITS, source="few")


@pytest.fixture
def make(cvae_params, cgan_params):
    """(module, parameters) of a narrow model, with some changed."""

    def of(name, **changes):
        module, p = {"cvae": (cvae, cvae_params), "cgan": (cgan, cgan_params)}[name]
        if changes.get("network") == "conv" and name == "cgan":
            changes["dropout"] = 0.0
        return module, p.model_copy(update=NARROW | changes)

    return of


def epochs_of(module, p, state, few):
    return train(module, state, few, p, 0, Progress(p.section, p.epochs))


def trained(module, p, few):
    state = begin(module, p, DIGITS, 0, len(few.train))
    for _ in epochs_of(module, p, state, few):
        pass
    return state


def weights(network):
    return {name: value.clone() for name, value in network.named_parameters()}


def same(a, b):
    return set(a) == set(b) and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ("constant", {0: 1, 5: 1, 10: 1, 19: 1, 20: 1}),
        ("linear", {0: 1, 5: 1, 10: 1, 15: 0.5, 19: 0.1, 20: 0}),
        ("cosine", {0: 1, 5: (1 + math.sqrt(0.5)) / 2, 10: 0.5, 15: (1 - math.sqrt(0.5)) / 2, 20: 0}),
    ],
)
def test_the_step_size_of_every_optimizer_follows_its_schedule(make, name, schedule, at):
    """20 steps: two epochs of 197 images, 20 at a time; `at`: its share of lr before each step."""
    module, p = make(name, lr_schedule=schedule)
    state = begin(module, p, DIGITS, 0, images=197)
    assert set(state.optimizers) == ({"model"} if name == "cvae" else {"G", "D"})
    assert set(state.schedules) == (set() if schedule == "constant" else set(state.optimizers))
    used = {part: [] for part in state.optimizers}
    for _ in range(21):
        for part, optimizer in state.optimizers.items():
            used[part].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        state.stepped()
    for part, rates in used.items():
        assert {step: rates[step] / p.lr for step in at} == pytest.approx(at, abs=1e-12), part


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_training_takes_every_step_of_its_schedule(make, few, name, schedule):
    """Three batches of 20, 20 and 10 images an epoch: the step size is 0 when they are done, not before."""
    module, p = make(name, lr_schedule=schedule)
    state = begin(module, p, DIGITS, 0, len(few.train))
    rates = []
    for _ in epochs_of(module, p, state, few):
        rates.append([optimizer.param_groups[0]["lr"] / p.lr for optimizer in state.optimizers.values()])
    first = {"linear": 1, "cosine": 0.5}[schedule]
    assert rates[0] == pytest.approx([first] * len(state.optimizers))
    assert rates[1] == pytest.approx([0] * len(state.optimizers), abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_ratio_is_that_of_the_discriminators_step_size_to_the_generators(make, few, schedule):
    module, p = make("cgan", lr=0.002, lr_ratio=3.0, lr_schedule=schedule)
    state = begin(module, p, DIGITS, 0, len(few.train))
    rates = [{part: o.param_groups[0]["lr"] for part, o in state.optimizers.items()}]
    for _ in epochs_of(module, p, state, few):
        rates.append({part: o.param_groups[0]["lr"] for part, o in state.optimizers.items()})
    assert rates[0] == pytest.approx({"G": 0.002, "D": 0.006})
    assert all(of["D"] == pytest.approx(3 * of["G"], abs=1e-12) for of in rates)


def test_a_second_phase_begins_as_a_new_optimizer_on_the_averaged_weights(make, few):
    module, p = make("cvae", prior="class", epochs=1, prior_epochs=1, ema=0.9)
    state = begin(module, p, DIGITS, 0, len(few.train))
    next(iter(epochs_of(module, p, state, few)))
    state.begin_phase()
    assert same(weights(state.model), weights(state.trained))
    fresh = copy.deepcopy(state.model)
    optimizer = torch.optim.Adam(
        fresh.parameters(), lr=p.lr, betas=(p.beta1, p.beta2), eps=p.epsilon, fused=True
    )
    for model, of in ((state.model, state.optimizers["model"]), (fresh, optimizer)):
        module.prior_step(model, {"model": of}, few.train.x, few.train.y, torch.Generator().manual_seed(0), p)
    assert same(weights(state.model), weights(fresh))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_second_phase_begins_with_the_full_step_size_and_ends_without_one(make, few, schedule):
    module, p = make("cvae", lr_schedule=schedule, prior="flow", epochs=2, prior_epochs=2, latent_dim=4)
    state = begin(module, p, DIGITS, 0, len(few.train))
    rates = [state.optimizers["model"].param_groups[0]["lr"] / p.lr]
    for _ in epochs_of(module, p, state, few):
        rates.append(state.optimizers["model"].param_groups[0]["lr"] / p.lr)
    half = {"constant": 1, "linear": 1, "cosine": 0.5}[schedule]
    end = 1 if schedule == "constant" else 0
    assert rates == pytest.approx([1, half, 1, half, end], abs=1e-12)  # after an epoch: of the next step


@pytest.mark.parametrize("name", MODELS)
def test_the_average_of_constant_weights_is_the_constant(make, name):
    module, p = make(name, ema=0.9)
    state = begin(module, p, DIGITS, 0, images=100)
    before = weights(state.model)
    for _ in range(5):
        state.stepped()
    assert same(weights(state.trained), before)


@pytest.mark.parametrize("ema", [0.5, 0.99])
def test_the_average_is_the_formula(make, gen, ema):
    """average <- ema * average + (1 - ema) * weights, from the weights after the first step."""
    module, p = make("cgan", ema=ema)
    state = begin(module, p, DIGITS, 0, images=100_000)
    expected = None
    for _ in range(6):
        with torch.no_grad():
            for parameter in state.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=gen))
        state.stepped()
        now = weights(state.model)
        if expected is None:
            expected = now
        expected = {name: ema * expected[name] + (1 - ema) * value for name, value in now.items()}
    for name, value in weights(state.trained).items():
        torch.testing.assert_close(value, expected[name], msg=name)


@pytest.mark.parametrize("steps", [[3], [100], [800], [20_000, 0, 800]])
def test_an_average_forgets_the_first_weights_however_short_the_training(make, steps):
    """Of 800 steps with ema .999, the weights after the first one would else be 45 % of the average."""
    p, model = make("cgan", ema=0.999)[1], torch.nn.Linear(1, 1)
    averaged = average(model, p, steps)
    model.requires_grad_(False)
    for step in range(min(filter(None, steps))):
        model.weight.fill_(float(step == 0))
        averaged.update_parameters(model)
    assert averaged.module.weight.item() < 0.0071


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("name", MODELS)
def test_what_was_trained_is_the_average_if_there_is_one(make, few, name, network):
    module, p = make(name, ema=0.9, network=network)
    state = trained(module, p, few)
    assert state.trained is state.average.module
    assert state.trained is not state.model
    changed = [name for name, value in weights(state.model).items()
               if not torch.equal(value, weights(state.trained)[name])]  # fmt: skip
    assert len(changed) == len(weights(state.model))
    plain = trained(module, p.model_copy(update={"ema": 0.0}), few)
    assert plain.average is None
    assert plain.trained is plain.model
    assert same(weights(plain.model), weights(state.model)), "the average does not change the training"


@pytest.mark.parametrize("name", MODELS)
def test_a_stages_validation_and_pictures_are_those_of_the_average(make, few, name, monkeypatch):
    module, p = make(name, ema=0.9)
    monkeypatch.setattr(loop, "recipe", lambda *values, **more: {})
    monkeypatch.setattr(loop, "Checkpoint", lambda *values: Silent())
    state, _ = loop.run(module, p, few, loop.Stage("toy", "", data.SplitParams(validation=50), 0), Silent())
    average, model = copy.deepcopy(state.average.module).eval(), copy.deepcopy(state.model).eval()
    z, labels = fixed_noise(DIGITS, 0, p.latent_dim, torch.device("cpu"))
    by_average, by_model = (DIGITS.to_uint8(module.draw(network, z, labels)) for network in (average, model))
    assert len(state.pictures) == 3
    assert (state.pictures[-1] == by_average).all()
    assert (state.pictures[-1] != by_model).any()
    if name == "cvae":
        assert state.rows[-1]["val_loss"] == cvae.validate(average, few.validation, 0)["val_loss"]
        assert state.rows[-1]["val_loss"] != cvae.validate(model, few.validation, 0)["val_loss"]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_statistics_of_batch_normalisation_are_learned_and_used_in_drawing(make, few, gen, ema):
    module, p = make("cgan", network="conv", ema=ema)
    state = trained(module, p, few)
    initial = dict(module.build(p, DIGITS, 0).named_buffers())
    statistics = {n: b for n, b in state.trained.named_buffers() if "running" in n}
    assert len(statistics) == 6
    for key, value in statistics.items():
        assert not torch.equal(value, initial[key]), key
        assert torch.equal(value, state.model.state_dict()[key]) == (ema == 0), "an average has its own"
    z, labels = torch.randn(10, p.latent_dim, generator=gen), torch.arange(10)
    before = module.draw(state.trained, z, labels)
    for key, value in statistics.items():
        kept = value.clone()
        value.add_(0.5)
        assert not torch.allclose(module.draw(state.trained, z, labels), before), key
        value.copy_(kept)
    assert torch.equal(module.draw(state.trained, z, labels), before), "drawing changes no statistics"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "changes", [{"network": "conv"}, {"network": "conv", "ema": 0.9}, {"spectral_norm": True}], ids=str
)
def test_drawing_pictures_does_not_change_the_training(make, few, name, changes, monkeypatch):
    if name == "cvae" and "spectral_norm" in changes:
        changes = {"prior": "flow", "flow_hidden": 8}
    module, p = make(name, **changes)
    alone = trained(module, p, few)
    modes, step = [], module.train_step

    def observed(model, *rest):
        modes.append(model.training)
        return step(model, *rest)

    monkeypatch.setattr(module, "train_step", observed)
    state = begin(module, p, DIGITS, 0, len(few.train))
    z, labels = fixed_noise(DIGITS, 0, p.latent_dim, torch.device("cpu"))

    def draw():
        network = state.trained
        assert not any(part.training for part in network.modules())
        return DIGITS.to_uint8(module.draw(network, z, labels))

    progress = Progress(name, p.epochs)
    record(train(module, state, few, p, 0, progress), state, progress, Silent(), Silent(), draw)
    assert modes == [True] * 6, "every step is taken in train mode"
    assert len(state.pictures) == 3
    assert same(alone.model.state_dict(), state.model.state_dict())
    assert same(alone.trained.state_dict(), state.trained.state_dict())
