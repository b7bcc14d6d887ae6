"""Our Adam is PyTorch's, without the machinery around it."""

import copy
from types import SimpleNamespace

import pytest
import torch

from condgen.adam import Adam

P = SimpleNamespace(lr=0.01, beta1=0.8, beta2=0.99, epsilon=1e-6)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3))


def steps(model, optimizer, count, first=0):
    for i in range(first, first + count):
        x = torch.randn(20, 40, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


def test_its_steps_are_those_of_torch():
    ours = network()
    theirs = copy.deepcopy(ours)
    steps(ours, Adam(ours.parameters(), P), 20)
    theirs_adam = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-6, fused=True)
    steps(theirs, theirs_adam, 20)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_first_step_is_the_papers():
    # After one step m / (1 - beta1) = g and v / (1 - beta2) = g^2: each weight moves by lr * g / (|g| + eps).
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    weight.grad = gradient = torch.tensor([1e-6, -5.0, 0.0], dtype=torch.float64)
    Adam([weight], P).step()
    expected = torch.tensor([1.0, -2.0, 3.0]) - 0.01 * gradient / (gradient.abs() + 1e-6)
    torch.testing.assert_close(weight.detach(), expected)


def test_what_has_no_gradient_stays_with_all_its_state():
    model = network()
    optimizer = Adam(model.parameters(), P)
    steps(model, optimizer, 2)
    before = {name: value.clone() for name, value in optimizer.state().items()}
    weights = [weight.detach().clone() for weight in model.parameters()]
    optimizer.zero_grad()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()
    changed = {name for name, value in optimizer.state().items() if not torch.equal(value, before[name])}
    assert changed == {"m.0", "v.0", "t.0"}
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), weights, strict=True)]
    assert moved == [True, False, False, False]
    optimizer.zero_grad()
    optimizer.step()  # nothing to do, and no error


@pytest.mark.parametrize("dropped", [None, "m", "v", "t"])
def test_from_its_state_it_goes_on_exactly_and_without_a_part_of_it_not(dropped):
    model = network()
    optimizer = Adam(model.parameters(), P)
    steps(model, optimizer, 3)
    other = copy.deepcopy(model)
    again = Adam(other.parameters(), P)
    state = {name: value.clone() for name, value in optimizer.state().items()}
    if dropped:
        state |= {
            f"{dropped}.{i}": torch.zeros_like(state[f"{dropped}.{i}"]) + (dropped == "t") for i in range(4)
        }
    again.load(state)
    steps(model, optimizer, 2, first=3)
    steps(other, again, 2, first=3)
    same = all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert same == (dropped is None)
