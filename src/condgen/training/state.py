"""The state of a training: everything needed to resume after an epoch with the same result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from condgen.datasets.spec import Spec
from condgen.training.optimizers import adam, average, schedule

Numbers = dict[str, float]
"""An epoch's results: name -> value."""
OF_ADAM = ("step", "exp_avg", "exp_avg_sq")  # what PyTorch's Adam keeps for each parameter


@dataclass
class State:
    """Everything that training changes. No random state: random streams derive from (seed, stream, epoch).

    Attributes:
        model: the network.
        optimizers: one for each of the network's `parts`.
        schedules: what changes an optimizer's step size at every step; none for a constant step size.
        average: the moving average of the network's weights, if there is one.
        rows: each epoch's numbers, from epoch 1.
        pictures: of the fixed noise, uint8 `[n, ...]` each, from epoch 0; empty if none are drawn.
        seconds: that training has taken, without validation and drawing.
    """

    model: torch.nn.Module
    optimizers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler] = field(default_factory=dict)
    average: AveragedModel | None = None
    rows: list[Numbers] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.rows)

    @property
    def trained(self) -> torch.nn.Module:
        """The network to keep and to draw with, in eval mode: the average if there is one."""
        return (self.model if self.average is None else self.average.module).eval()

    def begin_phase(self) -> None:
        """Between two phases: the next begins with the averaged weights, and without Adam's memory.

        Of another loss and of other weights, Adam's means would make its first steps several times too large.
        """
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        for optimizer in self.optimizers.values():
            for values in optimizer.state.values():
                for key in OF_ADAM:
                    values[key].zero_()

    def stepped(self) -> None:
        """After each step: the next step's step sizes, and the average."""
        for of_part in self.schedules.values():
            of_part.step()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"model": self.model} | ({} if self.average is None else {"average": self.average})

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name: not copies, so training changes them."""
        named = {
            f"{kind}.{name}": value
            for kind, network in self._networks().items()
            for name, value in network.state_dict().items()
        }
        for part, optimizer in self.optimizers.items():
            for i, values in optimizer.state_dict()["state"].items():
                named |= {f"optimizer.{part}.{i}.{key}": values[key] for key in OF_ADAM}
        if self.pictures:
            named["pictures"] = torch.from_numpy(np.stack(self.pictures))
        return named

    def numbers(self) -> dict[str, Any]:
        """Everything else, as plain values: rows, the schedules' states, and the values they set."""
        schedules = {part: of_part.state_dict() for part, of_part in self.schedules.items()}
        groups = {
            part: [{key: group[key] for key in ("lr", "betas")} for group in optimizer.param_groups]
            for part, optimizer in self.optimizers.items()
        }
        return {"rows": self.rows, "seconds": self.seconds, "schedules": schedules, "groups": groups}

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Restores what `tensors` and `numbers` returned. Raises KeyError or RuntimeError on a mismatch."""
        own = {
            kind: {name: tensors[f"{kind}.{name}"] for name in network.state_dict()}
            for kind, network in self._networks().items()
        }
        for part, optimizer in self.optimizers.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            kept_of = [
                {k: tensors[f"optimizer.{part}.{i}.{k}"] for k in OF_ADAM} for i in range(len(parameters))
            ]
            values = {i: _as_stored(p, of) for i, (p, of) in enumerate(zip(parameters, kept_of, strict=True))}
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})
            for group, kept in zip(optimizer.param_groups, numbers["groups"][part], strict=True):
                group.update(lr=kept["lr"], betas=tuple(kept["betas"]))
        for kind, network in self._networks().items():
            network.load_state_dict(own[kind])
        for part, of_part in self.schedules.items():
            of_part.load_state_dict(numbers["schedules"][part])
        self.rows, self.seconds = numbers["rows"], numbers["seconds"]
        self.pictures = list(tensors["pictures"].numpy()) if "pictures" in tensors else []


def _as_stored(parameter: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adam's values in their parameter's memory layout, because the fused kernel runs in memory order.

    A checkpoint holds contiguous tensors, but a convolution's weights may be channels-last.
    """
    return {k: v if v.ndim == 0 else torch.empty_like(parameter).copy_(v) for k, v in values.items()}


def begin(
    kind: ModuleType, p: Any, spec: Spec, seed: int, images: int, device: str | torch.device = "cpu"
) -> State:
    """The state before training: a fresh network, its optimizers, schedules and average.

    kind: a module of `condgen.models`. p: its parameters. spec: of its images. images: how many an epoch has.
    """
    model = kind.build(p, spec, seed).to(device)
    size = getattr(p, "step_size", lambda part: p.lr)
    optimizers: dict[str, Optimizer] = {
        part: adam(module.parameters(), p, size(part)) for part, module in model.parts.items()
    }
    steps = [epochs * ceil(images / p.batch_size) for epochs, _ in phases(kind, p)]
    found = {part: schedule(optimizer, p, steps) for part, optimizer in optimizers.items()}
    schedules = {part: of_part for part, of_part in found.items() if of_part is not None}
    return State(model, optimizers, schedules, average(model, p, steps))


def phases(kind: ModuleType, p: Any) -> list[tuple[int, Callable]]:
    """(epochs, step) of each part of a training, in turn. kind: a module of `condgen.models`."""
    found = getattr(kind, "phases", None)
    return found(p) if found else [(p.epochs, kind.train_step)]


def summary(state: State, source: str) -> dict:
    """For data/metrics/train_*.json: the data set, the network's size, the last epoch's numbers."""
    parameters = sum(p.numel() for p in state.model.parameters())
    last = {key: value for key, value in state.rows[-1].items() if key != "epoch"}
    return {"data": source, "parameters": parameters} | last
