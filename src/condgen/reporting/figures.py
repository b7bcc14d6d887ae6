"""Arrays -> pictures. The same arrays give the same bytes: no time or version is written."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image, ImageDraw, ImageFont

from condgen.base import files
from condgen.base.pictures import GAP, GREY, mosaic, save_png
from condgen.datasets.spec import Words
from condgen.models import MODELS

# Blue, orange, grey: distinguishable with any colour vision, on white and on black.
COLOURS = {"cvae": "#3b75c4", "cgan": "#e07b1f", "real": "#7d7d7d"}
NAMES = {name: model.title for name, model in MODELS.items()} | {"real": "Real images"}
FONT_SIZE = 13  # of the names of rows
LARGE_MANIFOLD = 800  # pixels
MOST_COLUMNS = 20  # classes in the article's table, which has a column for each
FRAME_MS = 160  # how long an animation shows an epoch
LAST_MS = 2500  # how long it shows the last one


def first_of_each_class(images: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` images of every class, class after class."""
    return np.concatenate([images[labels == label][:count] for label in np.unique(labels)])


def class_grid(
    path: str | Path, names: Sequence[str], images: np.ndarray, labels: np.ndarray, count: int = 15
) -> None:
    """A row of samples for each class: `count` of them, or as many as the rarest class has."""
    count = min(count, int(np.unique(labels, return_counts=True)[1].min()))
    rows(path, names, first_of_each_class(images, labels, count))


def rows(path: str | Path, names: Sequence[str], images: np.ndarray) -> None:
    """Pictures at twice their size, equally many in each row, with the rows' names."""
    sheet = mosaic(images, len(images) // len(names))
    save_png(path, named(sheet.repeat(2, 0).repeat(2, 1), names))


def named(sheet: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A `mosaic` with the names of its rows, white, to the left of them."""
    # Matplotlib's font has Greek and Cyrillic letters, too, unlike Pillow's.
    font = ImageFont.truetype(str(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")), FONT_SIZE)
    width = max(int(font.getlength(name)) for name in names) + FONT_SIZE
    strip = Image.fromarray(np.full((len(sheet), width, *sheet.shape[2:]), GREY, np.uint8))
    for i, name in enumerate(names):
        middle = (i + 0.5) * len(sheet) / len(names)
        ImageDraw.Draw(strip).text((FONT_SIZE // 2, middle), name, "white", font, anchor="lm")
    return np.hstack([np.asarray(strip), sheet])


def manifold(path: str | Path, images: np.ndarray) -> None:
    """The manifold of each class, uint8 `[classes, s, s, h, w, ...]`, in rows of five; large ones halved."""
    classes, s, _, h, w, *colour = images.shape
    tiles = images.swapaxes(2, 3).reshape(classes, s * h, s * w, *colour)
    if s * w > LARGE_MANIFOLD:
        tiles = np.stack([np.asarray(Image.fromarray(tile).reduce(2)) for tile in tiles])
    save_png(path, mosaic(tiles, columns=5))


def article_table(
    path: str | Path, names: Sequence[str], pictures: Mapping[str, Mapping[int, np.ndarray]]
) -> None:
    """The article's table: for each model and epoch a row with one picture of each of the first classes.

    names: of the classes. pictures: model name -> epoch -> uint8 `[classes, ...]`, a picture per class.
    """
    names = names[:MOST_COLUMNS]
    lines = [
        (name, epoch, row[:MOST_COLUMNS])
        for name, by_epoch in pictures.items()
        for epoch, row in by_epoch.items()
    ]
    long = max(map(len, names)) > 3
    above = 0.9 if long else 0.3  # inches, for the names
    figure = Figure(figsize=(9, 0.05 + above + max(8 / len(names), 0.42) * len(lines)), facecolor="white")
    axes = figure.subplots(len(lines), 1, squeeze=False)[:, 0]
    side = lines[0][2].shape[2] + GAP
    for i, (axis, (name, epoch, row)) in enumerate(zip(axes, lines, strict=True)):
        axis.imshow(mosaic(row, len(row)), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_yticks([])
        axis.set_ylabel(f"{NAMES[name]}\nepoch {epoch}", rotation=0, ha="right", va="center", fontsize=11)
        axis.yaxis.label.set_color(COLOURS[name])
        axis.xaxis.tick_top()
        axis.set_xticks([])
        if i == 0:
            ticks = [GAP / 2 + side / 2 + k * side for k in range(len(row))]
            if long:
                axis.set_xticks(ticks, names, fontsize=9, rotation=40, ha="left", parse_math=False)
            else:
                axis.set_xticks(ticks, names, fontsize=12, parse_math=False)
            axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.subplots_adjust(
        left=0.13, right=0.995, top=1 - above / figure.get_figheight(), bottom=0.01, hspace=0.04
    )
    _save(figure, path, dpi=110)


def shown_epochs(last: int) -> list[int]:
    """The epochs of a history of `last` epochs that are worth a picture: early epochs change most.

    The first ten, then every second up to 30, every tenth, and the last.
    """
    return [e for e in range(1, last + 1) if e <= 10 or e % (2 if e <= 30 else 10) == 0 or e == last]


def history(folder: str | Path, classes: int, images: np.ndarray) -> None:
    """<epoch>.png for each of `shown_epochs`: five pictures of each class from the same noise, a row a class.

    classes: how many. images: uint8 `[e, n, ...]`. DVC's own viewers show a folder of numbered pictures as
    one with a slider.
    """
    for epoch in shown_epochs(len(images)):
        save_png(Path(folder, f"{epoch}.png"), _five_of_each(images[epoch - 1], classes))


def _five_of_each(images: np.ndarray, classes: int) -> np.ndarray:
    """Pictures of an epoch, `[n, ...]`, class after class -> a row of five for each class."""
    shape = images.shape[1:]
    return mosaic(images.reshape(classes, -1, *shape)[:, :5].reshape(-1, *shape), 5)


def animation(path: str | Path, classes: int, histories: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """A GIF of training: all models side by side, five pictures of each class from the same noise.

    classes: how many. histories: model name -> (epochs `[e]`, images uint8 `[e, n, ...]`). A model that was
    trained for fewer epochs stays at its last.
    """
    longest = max(int(epochs[-1]) for epochs, _ in histories.values())
    frames = []
    for epoch in shown_epochs(longest):
        panels = []
        for name, (epochs, images) in histories.items():
            last = min(epoch, int(epochs[-1]))
            panels.append(_titled(_five_of_each(images[last - 1], classes), f"{NAMES[name]}  epoch {last}"))
        frames.append(Image.fromarray(np.hstack(panels)))
    buffer = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    files.write(path, buffer.getvalue())


def _titled(picture: np.ndarray, text: str) -> np.ndarray:
    """A picture with a line of text above it, uint8."""
    strip = Image.fromarray(np.full((16, *picture.shape[1:]), GREY, np.uint8))
    ImageDraw.Draw(strip).text((4, 2), text, "white")
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


def bars_by_class(
    path: str | Path, classes: Sequence[str], values: Mapping[str, Sequence[float]], label: str
) -> None:
    """Bars for each set and class. values: set -> a value a class; label: the name of the axis, with unit."""
    figure = Figure(figsize=(min(max(9, 0.45 * len(classes)), 26), 3.2), facecolor="white")
    axis = figure.subplots()
    width = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        at = np.arange(len(heights)) + (i - (len(values) - 1) / 2) * width
        axis.bar(at, heights, width * 0.92, label=NAMES[name], color=COLOURS[name])
    _ticks(axis.xaxis, classes)
    axis.set_xlabel(f"{Words(classes).one} asked for")
    axis.set_ylabel(label)
    axis.legend(ncols=len(values), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    _plain(axis)
    figure.tight_layout()
    _save(figure, path, dpi=110)


def pairs(path: str | Path, above: np.ndarray, below: np.ndarray, columns: int = 20) -> None:
    """Pictures of `above` over their partners in `below`, `columns` of them side by side."""
    parts = [slice(start, start + columns) for start in range(0, len(above), columns)]
    bands = [mosaic(np.concatenate([above[part], below[part]]), len(above[part])) for part in parts]
    widest = max(band.shape[1] for band in bands)
    rest = [(0, 0)] * (bands[0].ndim - 2)
    full = [np.pad(b, [(0, 0), (0, widest - b.shape[1]), *rest], constant_values=GREY) for b in bands]
    save_png(path, np.vstack(full), scale=2)


def confusion(
    path: str | Path, classes: Sequence[str], tables: Mapping[str, Sequence[Sequence[int]]]
) -> None:
    """Confusion matrices in % of what was asked for, a panel per model. tables: model -> `[c, c]`."""
    side = min(max(4.6, 0.42 * len(classes)), 14)
    # tight_layout() would cut the titles off: it does not know how high square panels become.
    roomy = ConstrainedLayoutEngine(h_pad=0.12)  # inches
    figure = Figure(figsize=(side * len(tables), side), facecolor="white", layout=roomy)
    for axis, (name, table) in zip(
        figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True
    ):
        counts = np.asarray(table, dtype=float)
        percent = 100 * counts / counts.sum(axis=1, keepdims=True)
        axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for i, j in np.ndindex(percent.shape):
            if percent[i, j] >= 0.5 and len(classes) <= 40:  # more would not be legible
                colour = "white" if percent[i, j] > 50 else "black"
                axis.text(j, i, f"{percent[i, j]:.0f}", ha="center", va="center", fontsize=8, color=colour)
        _ticks(axis.xaxis, classes)
        _ticks(axis.yaxis, classes)
        axis.set_xlabel("classified as")
        axis.set_ylabel("asked for")
        axis.set_title(NAMES[name], color=COLOURS[name], fontsize=11)
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


def _ticks(axis: Axis, names: Sequence[str]) -> None:
    """The names of classes at an axis; long ones below a horizontal axis are turned."""
    axis.set_ticks(range(len(names)), names, parse_math=False)
    if isinstance(axis, XAxis) and max(map(len, names)) > 3:
        for label in axis.get_ticklabels():
            label.set(rotation=40, ha="right")


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)


def _save(figure: Figure, path: str | Path, dpi: int) -> None:
    buffer = io.BytesIO()
    # Matplotlib writes its version into a PNG unless told not to.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    files.write(path, buffer.getvalue())
