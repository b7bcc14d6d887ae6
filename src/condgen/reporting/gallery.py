"""Arrays -> the pictures of the page, few enough to keep it small whatever the classes and the image size.

Pictures are one pixel a pixel; the page enlarges them. A row of pictures is one strip, so that names stand
beside it as text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from condgen.base import files
from condgen.base.errors import UserError
from condgen.datasets.data import AGAIN, Images
from condgen.datasets.spec import Spec, Words
from condgen.models import MODELS
from condgen.reporting import inline

COLUMNS = 5  # pictures of a class from each set
ROWS = 12  # classes that get them; of the others there are FEW pictures each, folded
FEW = 2
LARGE = 32  # pixels: larger images are halved where there are many
FRAMES = 36  # epochs of a film, at most about
REEL = 30  # pictures in a frame of a film, one of each class at least up to twice as many
PAIRS = 20  # samples with their nearest training images
LATENT = ("same_noise", "interpolation", "manifold")
STEPS = 8  # pictures in a row of them


@dataclass(frozen=True)
class Strips:
    """A table of strips of pictures: a row a class, a column a set.

    heads: of the columns. rows: (class, a data: URL for each column). each: pictures in a strip.
    """

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    each: int


@dataclass(frozen=True)
class Reel:
    """One model's film: a sheet with a frame for each epoch, `across` frames in a row.

    epochs: of the frames. shape: (pictures across, down) in a frame, and a picture's side in pixels.
    """

    name: str
    epochs: Sequence[int]
    sheet: str
    across: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class Gallery:
    """All pictures of the page.

    side: pixels along each side of an image. ink: whether they are light on black, so that the page may show
    them dark on white. film: a reel a model. histories: model -> uint8 `[epochs, classes, h, w, ...]`, one
    picture of each of the first classes. manifolds: model -> (class, data: URL). nearest: model -> bands
    of samples above their nearest training images.
    """

    side: int
    ink: bool
    finals: Strips
    others: Strips | None
    film: Sequence[Reel]
    classes: Sequence[str]
    histories: Mapping[str, np.ndarray]
    same_noise: Mapping[str, Strips]
    interpolation: Mapping[str, Strips]
    manifolds: Mapping[str, Sequence[tuple[str, str]]]
    nearest: Mapping[str, Sequence[str]]

    def table(self, wanted: Sequence[int]) -> Strips:
        """The article's table: a row a class, a column for each model's wanted epochs and its last."""
        columns = {
            f"{MODELS[name].title} {epoch}": [small(image[None]) for image in images[epoch - 1]]
            for name, images in self.histories.items()
            for epoch in sorted({*(e for e in wanted if e < len(images)), len(images)})
        }
        return strips(self.classes, list(columns), list(columns.values()))


def build(
    spec: Spec,
    sets: Mapping[str, Images],
    histories: Mapping[str, Images],
    latent: Mapping[str, Mapping[str, np.ndarray]],
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Gallery:
    """The gallery of a run.

    sets: the models' samples, and "real" images. histories: x `[e, n, d]`. latent: as `read_latent` returns
    it. pairs: as `suite.nearest_pairs` returns them.
    """
    titles = {name: model.title for name, model in MODELS.items()}
    titles["real"] = f"Real {Words(spec.classes).images}"
    first = {
        name: [spec.to_uint8(images.x[images.y == c][:COLUMNS].cpu()) for c in range(spec.count)]
        for name, images in sets.items()
    }
    few = {name: [small(images[:FEW]) for images in by_class] for name, by_class in first.items()}
    drawn = {name: _history(spec, history) for name, history in histories.items()}
    kinds: dict[str, dict[str, Strips]] = {"same_noise": {}, "interpolation": {}}
    for kind, tables in kinds.items():
        for name, arrays in latent.items():
            rows = [thin(row) for row in arrays[kind][:ROWS]]
            tables[name] = strips(spec.classes, [titles[name]], [rows])
    return Gallery(
        side=spec.side,
        ink=spec.channels == 1 and _dark_border(first["real"]),
        finals=strips(spec.classes, list(titles.values()), [first[name][:ROWS] for name in titles]),
        others=strips(spec.classes[ROWS:], list(titles.values()), [few[name][ROWS:] for name in titles])
        if spec.count > ROWS
        else None,
        film=reels(drawn, spec.count),
        classes=spec.classes,
        histories={name: images[:, :ROWS, 0] for name, images in drawn.items()},
        same_noise=kinds["same_noise"],
        interpolation=kinds["interpolation"],
        manifolds={
            name: [
                (spec.classes[c], inline.still(_sheet([small(row) for row in grid])))
                for c, grid in enumerate(arrays["manifold"][:ROWS])
            ]
            for name, arrays in latent.items()
            if len(arrays["manifold"])
        },
        nearest={name: _bands(*pair) for name, pair in pairs.items()},
    )


def strips(names: Sequence[str], heads: Sequence[str], sets: Sequence[Sequence[np.ndarray]]) -> Strips:
    """sets: for each column the images uint8 `[k, h, w, ...]` of each row; short strips end black."""
    each = max(len(images) for by_class in sets for images in by_class)
    rows = [
        (name, [inline.still(_sheet([_padded(by_class[i], each)])) for by_class in sets])
        for i, name in enumerate(names[: len(sets[0])])
    ]
    return Strips(heads, rows, each)


def small(images: np.ndarray) -> np.ndarray:
    """Images uint8 `[k, h, w, ...]`, at half their size if they are large."""
    if images.shape[1] <= LARGE or not len(images):
        return images
    return np.stack([np.asarray(Image.fromarray(image).reduce(2)) for image in images])


def thin(images: np.ndarray, most: int = STEPS) -> np.ndarray:
    """`most` of the images, evenly spaced, the first and the last among them, in small."""
    chosen = np.rint(np.linspace(0, len(images) - 1, min(most, len(images)))).astype(int)
    return small(images[chosen])


def epochs_shown(lasts: Sequence[int], most: int = FRAMES) -> list[int]:
    """The epochs of a film: dense early, when most happens, and the last of every model."""
    longest = max(lasts)
    spaced = np.rint(np.linspace(1, longest**0.5, min(most, longest)) ** 2).astype(int)
    return sorted({*spaced.tolist(), *lasts})


def reels(histories: Mapping[str, np.ndarray], classes: int) -> list[Reel]:
    """Films of images uint8 `[epochs, classes, k, h, w, ...]`; all show the same epochs, up to their last."""
    positions = epochs_shown([len(images) for images in histories.values()])
    found = []
    for name, images in histories.items():
        epochs = [epoch for epoch in positions if epoch <= len(images)]
        k = min(max(1, REEL // classes), COLUMNS, images.shape[2])
        shown = images[np.array(epochs) - 1, : 2 * REEL, :k]
        flat = shown.reshape(len(epochs), -1, *images.shape[3:])
        columns = k if k > 1 else int(np.ceil(len(flat[0]) ** 0.5))
        missing = -flat.shape[1] % columns  # of the last row
        flat = np.pad(flat, [(0, 0), (0, missing), *[(0, 0)] * (flat.ndim - 2)])
        frames = [_sheet(small(frame).reshape(-1, columns, *_small_shape(frame))) for frame in flat]
        across = int(np.ceil(len(frames) ** 0.5))
        blank = [np.zeros_like(frames[0])] * (-len(frames) % across)
        sheet = _sheet(np.stack(frames + blank).reshape(-1, across, *frames[0].shape))
        found.append(Reel(name, epochs, inline.film(sheet), across, (columns, len(flat[0]) // columns)))
    return found


def read_latent(path: str, spec: Spec) -> dict[str, dict[str, np.ndarray]]:
    """Model -> kind -> images, as `latent.arrays` made them. Raises UserError if the file holds others."""
    keys = [(name, kind) for name in MODELS for kind in LATENT]
    arrays = files.read_npz(path, *(f"{name}_{kind}" for name, kind in keys))
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in MODELS}
    for (name, kind), images in zip(keys, arrays, strict=True):
        before = 3 if kind == "manifold" else 2
        empty = kind == "manifold" and not len(images)
        fits = images.ndim == before + len(spec.shape) and images.shape[before:] == spec.shape
        if images.dtype != np.uint8 or not fits or not (empty or images.size):
            raise UserError(
                f"{path}: {name}_{kind} is {images.dtype} {list(images.shape)}, but must be uint8, a row of "
                f"images {list(spec.shape)} for each class; {AGAIN}"
            )
        found[name][kind] = images
    return found


def _history(spec: Spec, history: Images) -> np.ndarray:
    """uint8 `[epochs, classes, k, ...]`, at most COLUMNS of a class."""
    epochs, n, d = history.x.shape
    x = history.x.view(epochs, spec.count, n // spec.count, d)[:, :, :COLUMNS].cpu()
    return spec.to_uint8(x.reshape(-1, d)).reshape(*x.shape[:3], *spec.shape)


def _bands(above: np.ndarray, below: np.ndarray) -> list[str]:
    """Bands of ten samples above the training images nearest to them."""
    chosen = np.rint(np.linspace(0, len(above) - 1, min(PAIRS, len(above)))).astype(int)
    above, below = small(above[chosen]), small(below[chosen])
    cut = [slice(i, i + 10) for i in range(0, len(above), 10)]
    return [inline.still(_sheet([_padded(above[c], 10), _padded(below[c], 10)])) for c in cut]


def _sheet(rows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Rows of images `[k, h, w, ...]` -> one picture without gaps."""
    return np.vstack([np.hstack(list(row)) for row in rows])


def _padded(images: np.ndarray, n: int) -> np.ndarray:
    return np.pad(images, [(0, n - len(images)), *[(0, 0)] * (images.ndim - 1)])


def _small_shape(images: np.ndarray) -> tuple[int, ...]:
    return small(images[:1]).shape[1:]


def _dark_border(by_class: Sequence[np.ndarray]) -> bool:
    """Whether images have nothing at their border, as MNIST's have."""
    images = np.concatenate(by_class)
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    return float(border.mean()) < 255 / 10
