"""Arrays -> pictures. The same arrays give the same bytes: no time or version is written."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from condgen.base import files
from condgen.base.pictures import GAP, mosaic, save_png
from condgen.models import MODELS

# Blue, orange, grey: distinguishable with any colour vision, on white and on black.
COLOURS = {"cvae": "#3b75c4", "cgan": "#e07b1f", "real": "#7d7d7d"}
NAMES = {name: model.title for name, model in MODELS.items()} | {"real": "Real digits"}
FRAME_MS = 160  # how long an animation shows an epoch
LAST_MS = 2500  # how long it shows the last one


def first_of_each_class(images: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` images of every class, class after class."""
    return np.concatenate([images[labels == label][:count] for label in np.unique(labels)])


def class_grid(path: str | Path, images: np.ndarray, labels: np.ndarray, count: int = 15) -> None:
    """A row of samples for each class: `count` of them, or as many as the rarest class has."""
    count = min(count, int(np.unique(labels, return_counts=True)[1].min()))
    save_png(path, mosaic(first_of_each_class(images, labels, count), count), scale=2)


def manifold(path: str | Path, images: np.ndarray) -> None:
    """The manifold of each class, uint8 `[10, s, s, 28, 28]`, in two rows of five at half size."""
    classes, s, _, h, w = images.shape
    tiles = images.transpose(0, 1, 3, 2, 4).reshape(classes, s * h, s * w)
    halves = [np.asarray(Image.fromarray(tile).reduce(2)) for tile in tiles]
    save_png(path, mosaic(np.stack(halves), columns=5))


def article_table(path: str | Path, pictures: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """The article's table: for each model and epoch a row with one picture of each class.

    pictures: model name -> epoch -> uint8 `[10, 28, 28]`, a picture per class.
    """
    rows = [(name, epoch, row) for name, by_epoch in pictures.items() for epoch, row in by_epoch.items()]
    figure = Figure(figsize=(9, 0.35 + 0.8 * len(rows)), facecolor="white")
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    side = rows[0][2].shape[1] + GAP
    for i, (axis, (name, epoch, row)) in enumerate(zip(axes, rows, strict=True)):
        axis.imshow(mosaic(row, len(row)), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_yticks([])
        axis.set_ylabel(f"{NAMES[name]}\nepoch {epoch}", rotation=0, ha="right", va="center", fontsize=11)
        axis.yaxis.label.set_color(COLOURS[name])
        axis.xaxis.tick_top()
        axis.set_xticks([])
        if i == 0:
            ticks = [GAP / 2 + side / 2 + k * side for k in range(len(row))]
            axis.set_xticks(ticks, range(len(row)), fontsize=12)
            axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.subplots_adjust(
        left=0.13, right=0.995, top=1 - 0.3 / figure.get_figheight(), bottom=0.01, hspace=0.04
    )
    _save(figure, path, dpi=110)


def animation(path: str | Path, histories: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """A GIF of training: all models side by side, five pictures of each class from the same noise.

    histories: model name -> (epochs `[e]`, images uint8 `[e, 100, 28, 28]`). Early epochs change most, so the
    first ten are all shown, then every second and every tenth. A model that was trained for fewer epochs
    stays at its last.
    """
    longest = max(int(epochs[-1]) for epochs, _ in histories.values())
    shown = [e for e in range(1, longest + 1) if e <= 10 or e % (2 if e <= 30 else 10) == 0 or e == longest]
    frames = []
    for epoch in shown:
        panels = []
        for name, (epochs, images) in histories.items():
            last = min(epoch, int(epochs[-1]))
            grid = images[last - 1].reshape(10, -1, *images.shape[2:])[:, :5].reshape(-1, *images.shape[2:])
            panels.append(_titled(mosaic(grid, 5), f"{NAMES[name]}  epoch {last}"))
        frames.append(Image.fromarray(np.hstack(panels)))
    buffer = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    files.write(path, buffer.getvalue())


def _titled(picture: np.ndarray, text: str) -> np.ndarray:
    """A picture with a line of text above it, uint8."""
    strip = Image.new("L", (picture.shape[1], 16), 48)
    ImageDraw.Draw(strip).text((4, 2), text, fill=255)
    return np.vstack([np.asarray(strip), picture])


def curves(
    path: str | Path, panels: Mapping[str, tuple[Sequence[Mapping[str, float]], Mapping[str, str]]]
) -> None:
    """Curves over epochs, panels side by side: title -> (rows with `epoch`, column -> its name)."""
    figure = Figure(figsize=(4.2 * len(panels), 3.2), facecolor="white")
    for axis, (title, (rows, columns)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        epochs = [row["epoch"] for row in rows]
        for i, (column, name) in enumerate(columns.items()):
            axis.plot(epochs, [row[column] for row in rows], ("-", "--")[i % 2], label=name, linewidth=1.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.legend(fontsize=8, frameon=False)
        _plain(axis)
    figure.tight_layout()
    _save(figure, path, dpi=100)


def bars_by_class(path: str | Path, values: Mapping[str, Sequence[float]], label: str) -> None:
    """Bars for each set and class. values: set -> ten values; label: the name of the axis, with unit."""
    figure = Figure(figsize=(9, 3.2), facecolor="white")
    axis = figure.subplots()
    width = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        at = np.arange(len(heights)) + (i - (len(values) - 1) / 2) * width
        axis.bar(at, heights, width * 0.92, label=NAMES[name], color=COLOURS[name])
    axis.set_xticks(range(10))
    axis.set_xlabel("digit asked for")
    axis.set_ylabel(label)
    axis.legend(ncols=len(values), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    _plain(axis)
    figure.tight_layout()
    _save(figure, path, dpi=110)


def grid(path: str | Path, images: np.ndarray, columns: int) -> None:
    """Pictures row by row, at twice their size."""
    save_png(path, mosaic(images, columns), scale=2)


def pairs(path: str | Path, above: np.ndarray, below: np.ndarray) -> None:
    """Two rows of pictures, each one of `above` over its partner in `below`."""
    grid(path, np.concatenate([above, below]), len(above))


def confusion(path: str | Path, tables: Mapping[str, Sequence[Sequence[int]]]) -> None:
    """Confusion matrices in % of the digits asked for, a panel per model. tables: model -> [10, 10]."""
    figure = Figure(figsize=(4.6 * len(tables), 4.6), facecolor="white")
    for axis, (name, table) in zip(
        figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True
    ):
        counts = np.asarray(table, dtype=float)
        percent = 100 * counts / counts.sum(axis=1, keepdims=True)
        axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for i, j in np.ndindex(percent.shape):
            if percent[i, j] >= 0.5:
                colour = "white" if percent[i, j] > 50 else "black"
                axis.text(j, i, f"{percent[i, j]:.0f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(10))
        axis.set_yticks(range(10))
        axis.set_xlabel("classified as")
        axis.set_ylabel("asked for")
        axis.set_title(NAMES[name], color=COLOURS[name], fontsize=11)
    figure.tight_layout()
    _save(figure, path, dpi=100)


def comparison(path: str | Path, rows: Sequence[Any]) -> None:
    """Dots with bars of one standard deviation over seeds: a panel per metric, a line per setting.

    rows: `pooling.Row`s.
    """
    metrics = list(rows[0].values)
    labels = [", ".join(f"{k}={v}" for k, v in row.settings.items()) or "all alike" for row in rows]
    labels = [f"{label} (n={len(row.seeds)})" for label, row in zip(labels, rows, strict=True)]
    columns = min(len(metrics), 2)
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(5.2 * columns + 2, lines * (1.1 + 0.32 * len(rows))), facecolor="white")
    for i, (axis, metric) in enumerate(
        zip(figure.subplots(lines, columns, squeeze=False).flat, metrics, strict=False)
    ):
        for y, row in enumerate(rows):
            value, spread = row.values[metric]
            colour = COLOURS.get(metric.split(".")[0], "black")
            axis.errorbar(value, y, xerr=spread, fmt="o", color=colour, capsize=4)
        axis.set_yticks(range(len(rows)), labels if i % columns == 0 else [""] * len(rows), fontsize=8)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(metric, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    _save(figure, path, dpi=110)


LADDER = {
    # metric -> the title of its column, what values are multiplied by, whether the scale is logarithmic
    "frechet_distance": ("Fréchet distance ↓", 1, True),
    "recall": ("recall, % ↑", 100, False),
    "coverage": ("coverage, % ↑", 100, False),
    "gan_train": ("GAN-train, % ↑", 100, False),
    "train_seconds": ("training, minutes", 1 / 60, False),
}


def ladder(path: str | Path, rungs: Sequence[Any]) -> None:
    """A row of bars for each rung, a column for each of LADDER, one model above the other.

    rungs: `climb.Climbed`s, in order.
    """
    models = list(dict.fromkeys(rung.model for rung in rungs))
    heights = [sum(rung.model == model for rung in rungs) for model in models]
    figure = Figure(figsize=(15, 1.6 + 0.42 * len(rungs)), facecolor="white")
    axes = figure.subplots(len(models), len(LADDER), squeeze=False, height_ratios=heights)
    for row, model in zip(axes, models, strict=True):
        of_model = [rung for rung in rungs if rung.model == model]
        for i, (axis, (metric, (title, scale, logarithmic))) in enumerate(
            zip(row, LADDER.items(), strict=True)
        ):
            values = [scale * rung.values.get(metric, float("nan")) for rung in of_model]
            bars = axis.barh(range(len(of_model)), values, color=COLOURS[model])
            axis.bar_label(bars, [f"{value:.3g}" if value == value else "–" for value in values], padding=3)
            axis.set_yticks(range(len(of_model)), [rung.idea for rung in of_model] if i == 0 else [])
            axis.set_ylim(len(of_model) - 0.5, -0.5)
            if logarithmic and max(values, default=0) > 0:
                axis.set_xscale("log")
            axis.margins(x=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_title(f"{NAMES[model]}: {title}" if i == 0 else title, fontsize=10)
    figure.tight_layout()
    _save(figure, path, dpi=110)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)


def _save(figure: Figure, path: str | Path, dpi: int) -> None:
    buffer = io.BytesIO()
    # Matplotlib writes its version into a PNG unless told not to.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    files.write(path, buffer.getvalue())
