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


def test_a_parameter_without_a_gradient_is_refused():
    model = network()
    optimizer = Adam(model.parameters(), P)
    steps(model, optimizer, 2)
    model[0].weight.grad = None
    with pytest.raises(TypeError, match="NoneType"):
        optimizer.step()


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
            name: torch.zeros_like(value) + (name == "t")
            for name, value in state.items()
            if name[0] == dropped
        }
    again.load(state)
    steps(model, optimizer, 2, first=3)
    steps(other, again, 2, first=3)
    same = all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert same == (dropped is None)
