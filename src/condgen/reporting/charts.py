"""Rows of numbers -> what the page's curves are drawn from, as SVG that needs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 420, 150  # of the picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 8, 22  # margins

PANELS = {
    # title -> model, column -> name of the curve
    "CVAE: −ELBO, nats per image": ("cvae", {"train_loss": "training", "val_loss": "validation"}),
    "CGAN: losses": ("cgan", {"d_loss": "discriminator", "g_loss": "generator"}),
    "CGAN: sigmoid of D’s logit (article: probability of “real”)": (
        "cgan",
        {"d_real": "for real images", "d_fake": "for drawn ones"},
    ),
}


@dataclass(frozen=True)
class Line:
    """A curve: its column, its name, an SVG path's points, and its value at each epoch, as text."""

    key: str
    name: str
    points: str
    values: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """Curves over epochs. ticks: (position, text). An epoch is at left + step * (epoch - 1)."""

    title: str
    model: str
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    last: int
    step: float
    left: int = LEFT
    top: int = TOP
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = HEIGHT - BOTTOM
    right: int = WIDTH - RIGHT


def charts(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Chart]:
    """The charts of PANELS. curves: model -> rows of data/plots/<model>.csv, an epoch each."""
    return [_chart(title, model, curves[model], names) for title, (model, names) in PANELS.items()]


def _chart(title: str, model: str, rows: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> Chart:
    last = int(rows[-1]["epoch"])
    step = (WIDTH - LEFT - RIGHT) / max(last - 1, 1)
    found = [row[key] for row in rows for key in names]
    low, high = min(found), max(found)
    if high == low:
        low, high = low - 1, high + 1

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def x(epoch: float) -> float:
        return round(LEFT + step * (epoch - 1), 1)

    lines = [
        Line(
            key,
            name,
            " ".join(f"{x(row['epoch'])},{y(row[key])}" for row in rows),
            [f"{row[key]:.4g}" for row in rows],
        )
        for key, name in names.items()
    ]
    ticks: Any = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    at_epochs: Any = MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]).tick_values(1, last)
    epochs = [1, *(int(e) for e in at_epochs if 1 < e < last), last]
    apart = [e for e in epochs[:-1] if e == 1 or (x(e) - x(1) > 60 and x(last) - x(e) > 24)]
    return Chart(
        title=title,
        model=model,
        lines=lines,
        x_ticks=[(x(e), str(e)) for e in dict.fromkeys([*apart, last])],
        y_ticks=[(y(tick), f"{tick:g}") for tick in ticks if low <= tick <= high],
        last=last,
        step=step,
    )
