"""Draws with a trained generator: pictures of texts or classes, labelled data sets of any size."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from condgen.base import files, pictures, random
from condgen.base.errors import UserError
from condgen.datasets.spec import Spec, Words
from condgen.models import MODELS
from condgen.sampling.generator import Generator, check_conditional, check_noise, within

SEPARATORS = " -.,:/+"  # allowed between the digits of dates, times and numbers
LONGEST_TEXT = 100  # characters, or names
SHOWN = 20  # names of classes in a message
# Of a separator, as shares of an image's side:
GLYPH_WIDTH = 4 / 7  # the width of its cell
FONT_SIZE = 13 / 14  # digits of this size are about as tall as MNIST's
BASELINE = 6 / 7  # MNIST's digits fill the middle 20 of 28 rows, so they stand on this one
LABEL_SIZE = 6 / 13  # of a model's name
LONGEST_NAME = 60  # characters of a file's name that is made from a text

# Pillow warns of an attack when it opens a larger picture (PIL.Image.MAX_IMAGE_PIXELS).
MOST_PIXELS = 89_478_485

# How MNIST's file names begin: Y. LeCun, "The MNIST database", 1998.
MNIST = {"train": "train", "test": "t10k"}
ABOUT = "Drawn by a model, not real: the label of an image is the class that the model was asked for."


def picture(
    text: str, generator: Generator, variants: int = 1, seed: int = 0, temperature: float = 1.0
) -> np.ndarray:
    """A text such as "2026-11-22", its digits drawn by the model: uint8 `[side * variants, w, ...]`.

    If all classes are single characters, the text consists of them and SEPARATORS, which are white; otherwise
    of names of classes with commas between them. A row for each variant, with its own noise, which does not
    depend on the number of variants. Raises UserError if the text is none of these, or has no class.
    """
    wanted = _read(text, generator.spec.classes)
    within("variants", variants, 1, 100)
    check_conditional(generator)
    labels = torch.tensor([part for part in wanted if isinstance(part, int)])
    glyphs = {part: glyph(part, generator.spec) for part in wanted if isinstance(part, str)}
    rows = []
    for row in range(variants):
        # A stream per row, because torch.randn's first numbers depend on how many are drawn.
        drawn = iter(generator.images(labels, f"drawing/text/{row}", seed, temperature))
        rows.append(np.hstack([glyphs[part] if isinstance(part, str) else next(drawn) for part in wanted]))
    return np.vstack(rows)


def draw(
    path: str | Path,
    text: str,
    models: Sequence[Generator],
    variants: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    scale: int = 4,
) -> None:
    """Writes `picture` as a PNG, each pixel as a square of `scale` pixels. Raises UserError.

    Several models: each one's rows below those of the one before, with the models' names before them.
    """
    within("scale", scale, 1, 32)
    if len({model.spec for model in models}) > 1:
        raise UserError("the models draw other classes or sizes: draw with one at a time")
    rows = [picture(text, model, variants, seed, temperature) for model in models]
    if len(models) > 1:
        rows = [np.hstack([label, row]) for label, row in zip(_labels(models, variants), rows, strict=True)]
    image = np.vstack(rows)
    height, width = (scale * side for side in image.shape[:2])
    if height * width > MOST_PIXELS:
        raise UserError(
            f"the picture would have {width} x {height} pixels, but must have at most {MOST_PIXELS}: "
            "take a smaller scale, fewer variants or a shorter text"
        )
    with _writing(path):
        pictures.save_png(path, image, scale)


def new_name(text: str) -> Path:
    """A name for the picture of a text, in the working directory, that no file has yet.

    "2026-11-22" -> 2026-11-22.png, then 2026-11-22_2.png; what is no letter or digit becomes a hyphen.
    """
    name = re.sub(r"\W+", "-", text).strip("-_")[:LONGEST_NAME] or "drawn"
    names = (Path(f"{name}{end}.png") for end in chain([""], (f"_{n}" for n in count(2))))
    return next(path for path in names if not path.is_symlink() and not path.exists())


def export(
    folder: str | Path,
    generator: Generator,
    per_class: int,
    test_per_class: int,
    seed: int,
    temperature: float = 1.0,
) -> None:
    """Writes a labelled data set drawn by the model; the folder appears whole or not at all.

    png/{train,test}/<class>/ holds the images for torchvision's ImageFolder. If they are grey, MNIST/raw/
    holds the same ones as MNIST's four files, uncompressed, for torchvision.datasets.MNIST(folder), the
    classes mixed: number k of a class is its k-th there. dataset.json names the model, its MD5, the classes,
    the seed and the temperature.

    Raises UserError if a number is out of range, or if `folder` exists and is not empty.
    """
    counts, spec = {"train": per_class, "test": test_per_class}, generator.spec
    within("per_class", per_class, 1, 100_000)
    within("test_per_class", test_per_class, 1, 100_000)
    check_noise(seed, temperature)
    check_conditional(generator)
    with new_folder(folder) as new:
        for part, count in counts.items():
            # Mixed, for training loops that do not shuffle.
            mix = random.generator(seed, f"drawing/{part}/order")
            labels = spec.every_class(count)[torch.randperm(spec.count * count, generator=mix)]
            images = generator.images(labels, f"drawing/{part}", seed, temperature)
            if spec.channels == 1:
                raw = new / f"MNIST/raw/{MNIST[part]}"
                write_idx(raw.with_name(f"{raw.name}-images-idx3-ubyte"), images)
                write_idx(raw.with_name(f"{raw.name}-labels-idx1-ubyte"), labels.numpy().astype(np.uint8))
            write_pngs(new / "png" / part, spec.classes, images, labels.numpy())
        about = {
            "about": ABOUT,
            "model": generator.name,
            "model_md5": generator.md5,
            "classes": list(spec.classes),
            "seed": seed,
            "temperature": temperature,
            "train_images_per_class": per_class,
            "test_images_per_class": test_per_class,
        }
        files.write_json(new / "dataset.json", about)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes uint8 of any shape in MNIST's format, idx (LeCun, "The MNIST database", 1998).

    Big-endian 32-bit numbers, type 8 (unsigned byte) * 256 + number of axes, then the length of each axis;
    then the bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array([0x0800 + array.ndim, *array.shape], ">i4")
    with open(path, "wb") as file:
        file.write(header.tobytes())
        file.write(np.ascontiguousarray(array).data)


def write_pngs(folder: Path, classes: Sequence[str], images: np.ndarray, labels: np.ndarray) -> None:
    """Writes images uint8 `[n, ...]` as <class>/00000.png, 00001.png, ... below the folder."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images[labels == label]):
            Image.fromarray(image).save(folder / f"{name}/{number:05}.png")


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when it is complete and is deleted on an error."""
    with _writing(folder):
        target = Path(folder).resolve()
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise UserError(f"{folder} exists and is not an empty folder: name a new one, or remove it")
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same file system, so that it can be renamed; one level down, because mkdtemp's mode is 0700
        # and mkdir's is not.
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            yield new
            new.replace(target)


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    """Raises UserError if a path cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


def glyph(character: str, spec: Spec) -> np.ndarray:
    """A separator in Pillow's font, white on black, as high as an image."""
    width, side = round(GLYPH_WIDTH * spec.side), spec.side
    cell = Image.new("L" if spec.channels == 1 else "RGB", (width, side))
    font = ImageFont.load_default(FONT_SIZE * side)
    ImageDraw.Draw(cell).text((width / 2, round(BASELINE * side)), character, "white", font, anchor="ms")
    return np.asarray(cell)


def _labels(models: Sequence[Generator], variants: int) -> list[np.ndarray]:
    """The names of models, white on black, each as high as its rows and all of the same width."""
    spec = models[0].spec
    font = ImageFont.load_default(LABEL_SIZE * spec.side)
    titles = [MODELS[model.name].title for model in models]
    width = round(max(font.getlength(title) for title in titles) + spec.side / 2)
    cells = []
    for title in titles:
        cell = Image.new("L" if spec.channels == 1 else "RGB", (width, variants * spec.side))
        place = (spec.side / 4, cell.height / 2)
        ImageDraw.Draw(cell).text(place, title, "white", font, anchor="lm")
        cells.append(np.asarray(cell))
    return cells


def _read(text: str, classes: Sequence[str]) -> list[int | str]:
    """A text as labels and separators, in order. Raises UserError."""
    parts = text.split(",") if any(len(name) > 1 for name in classes) else text
    if len(parts) > LONGEST_TEXT:
        what = "names" if parts is not text else "characters"
        raise UserError(f"the text has {len(parts)} {what}, but must have at most {LONGEST_TEXT}")
    if any(len(name) > 1 for name in classes):
        names = [name.strip() for name in parts]
        for name in names:
            if name not in classes:
                raise UserError(
                    f"the text {text!r} names {name!r}, but must be names of classes with commas between "
                    f"them: {', '.join(classes[:SHOWN])}{', ...' if len(classes) > SHOWN else ''}"
                )
        return [classes.index(name) for name in names]
    words = Words(classes)
    known = (
        "digits"
        if len(classes) == len("0123456789") and words.one == "digit"
        else "the classes " + "".join(classes)
    )
    for character in text:
        if character not in (*classes, *SEPARATORS):
            raise UserError(
                f"the text {text!r} has the character {character!r}, but must consist of {known}, "
                f"spaces and {' '.join(SEPARATORS.strip())}"
            )
    if not set(text) & set(classes):
        raise UserError(f"the text {text!r} has no {words.one}, but must have at least one")
    return [classes.index(character) if character in classes else character for character in text]
