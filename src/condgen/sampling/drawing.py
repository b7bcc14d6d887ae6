"""Draws with a trained generator: pictures of dates and numbers, labelled data sets of any size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from condgen.base import files, pictures, random
from condgen.base.errors import UserError
from condgen.datasets import data
from condgen.sampling.generator import Generator, check_conditional, check_noise, within

DIGITS = "0123456789"
SEPARATORS = " -.,:/+"  # allowed between the digits of dates, times and numbers
LONGEST_TEXT = 100  # characters
GLYPH_WIDTH = 16  # pixels, width of a separator's cell
FONT_SIZE = 26  # of separators; digits of this size are about as tall as MNIST's
BASELINE = 24  # MNIST's digits fill the middle 20 of 28 rows, so they stand on this one

# Pillow warns of an attack when it opens a larger picture (PIL.Image.MAX_IMAGE_PIXELS).
MOST_PIXELS = 89_478_485

# How MNIST's file names begin: Y. LeCun, "The MNIST database", 1998.
MNIST = {"train": "train", "test": "t10k"}
ABOUT = "Drawn by a model, not real: the label of an image is the digit that the model was asked for."


def picture(
    text: str, generator: Generator, variants: int = 1, seed: int = 0, temperature: float = 1.0
) -> np.ndarray:
    """A text such as "2026-11-22", its digits drawn by the model: uint8 `[28 * variants, w]`, white on black.

    A row for each variant, with its own noise, which does not depend on the number of variants. Raises
    UserError if the text has characters other than digits and SEPARATORS, or has no digit.
    """
    _check_text(text)
    within("variants", variants, 1, 100)
    check_conditional(generator)
    labels = torch.tensor([DIGITS.index(character) for character in text if character in DIGITS])
    glyphs = {character: _glyph(character) for character in set(text) - set(DIGITS)}
    rows = []
    for row in range(variants):
        # A stream per row, because torch.randn's first numbers depend on how many are drawn.
        digits = iter(generator.images(labels, f"drawing/text/{row}", seed, temperature))
        rows.append(np.hstack([glyphs[c] if c in glyphs else next(digits) for c in text]))
    return np.vstack(rows)


def draw(
    path: str | Path,
    text: str,
    generator: Generator,
    variants: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    scale: int = 4,
) -> None:
    """Writes `picture` as a PNG, each pixel as a square of `scale` pixels. Raises UserError."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path} must end in .png")
    within("scale", scale, 1, 32)
    image = picture(text, generator, variants, seed, temperature)
    height, width = (scale * side for side in image.shape)
    if height * width > MOST_PIXELS:
        raise UserError(
            f"the picture would have {width} x {height} pixels, but must have at most {MOST_PIXELS}: "
            "take a smaller scale, fewer variants or a shorter text"
        )
    with _writing(path):
        pictures.save_png(path, image, scale)


def export(
    folder: str | Path,
    generator: Generator,
    per_class: int,
    test_per_class: int,
    seed: int,
    temperature: float = 1.0,
) -> None:
    """Writes a labelled data set drawn by the model; the folder appears whole or not at all.

    MNIST/raw/ holds MNIST's four files, uncompressed, for torchvision.datasets.MNIST(folder); the classes are
    mixed. png/{train,test}/<digit>/ holds the same images for torchvision's ImageFolder: number k is the
    digit's k-th in MNIST/raw. dataset.json names the model, its MD5, the seed and the temperature.

    Raises UserError if a number is out of range, or if `folder` exists and is not empty.
    """
    counts = {"train": per_class, "test": test_per_class}
    within("per_class", per_class, 1, 100_000)
    within("test_per_class", test_per_class, 1, 100_000)
    check_noise(seed, temperature)
    check_conditional(generator)
    with _new_folder(folder) as new:
        for part, count in counts.items():
            # Mixed, for training loops that do not shuffle.
            mix = random.generator(seed, f"drawing/{part}/order")
            labels = data.every_class(count)[torch.randperm(data.CLASSES * count, generator=mix)]
            images = generator.images(labels, f"drawing/{part}", seed, temperature)
            write_idx(new / f"MNIST/raw/{MNIST[part]}-images-idx3-ubyte", images)
            write_idx(new / f"MNIST/raw/{MNIST[part]}-labels-idx1-ubyte", labels.numpy().astype(np.uint8))
            write_pngs(new / "png" / part, images, labels.numpy())
        about = {
            "about": ABOUT,
            "model": generator.name,
            "model_md5": generator.md5,
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


def write_pngs(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes images uint8 `[n, 28, 28]` as <label>/00000.png, 00001.png, ... below the folder."""
    for label in range(data.CLASSES):
        (folder / str(label)).mkdir(parents=True)
        for number, image in enumerate(images[labels == label]):
            Image.fromarray(image).save(folder / f"{label}/{number:05}.png")


@contextmanager
def _new_folder(folder: str | Path) -> Iterator[Path]:
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


def _glyph(character: str) -> np.ndarray:
    """A separator in Pillow's font, white on black: uint8 `[28, GLYPH_WIDTH]`."""
    cell = Image.new("L", (GLYPH_WIDTH, data.SIDE))
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(cell).text((GLYPH_WIDTH / 2, BASELINE), character, 255, font, anchor="ms")
    return np.asarray(cell)


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise UserError(f"the text has {len(text)} characters, but must have at most {LONGEST_TEXT}")
    for character in text:
        if character not in DIGITS + SEPARATORS:
            raise UserError(
                f"the text {text!r} has the character {character!r}, but must consist of digits, "
                f"spaces and {' '.join(SEPARATORS.strip())}"
            )
    if not set(text) & set(DIGITS):
        raise UserError(f"the text {text!r} has no digit, but must have at least one")
