"""Any picture -> uint8 `[side, side]` (grey) or `[side, side, 3]` (colour), the same way for every data set.

Pillow's bicubic filter widens with the factor when it shrinks, so fine patterns become grey instead of
aliasing: Parmar, Zhang & Zhu 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation".
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from condgen.base.errors import UserError

MOST_BYTES = 2**31  # of an array: what files.write_npz can write


def stack(images: Iterable[Image.Image], places: np.ndarray, side: int, channels: int) -> np.ndarray:
    """`n` pictures as uint8 `[n, side, side]` or `[n, side, side, 3]`: the i-th is put at `places[i]`.

    Only one picture is held in its own size. Raises UserError if the result would have 2 GiB or more.
    """
    x = empty(len(places), side, channels)
    for place, image in zip(places, images, strict=True):
        x[place] = square(image, side, channels)
    return x


def empty(n: int, side: int, channels: int) -> np.ndarray:
    """Room for `n` pictures, zeros: memory is taken when a picture is written. Raises UserError at 2 GiB."""
    if n * side * side * channels >= MOST_BYTES:
        raise UserError(
            f"{n:,} pictures of {side} x {side} pixels, channels {channels}, take "
            f"{n * side * side * channels / 2**30:.1f} GiB, but must take less than 2: "
            "make data.side smaller, or take fewer pictures"
        )
    return np.zeros((n, side, side) if channels == 1 else (n, side, side, 3), np.uint8)


def square(image: Image.Image, side: int, channels: int) -> np.ndarray:
    """uint8 `[side, side]` or `[side, side, 3]`; a picture of that size and kind is returned as it is.

    A picture that is not square is not distorted: its longer side becomes `side`, it is centred, and the rest
    gets the median colour of its border. Raises ValueError for pixels that cannot become 8 bits.
    """
    image = eight_bit(image, channels)
    longer = max(image.size)
    if longer != side:
        size = [max(1, round(side * length / longer)) for length in image.size]
        small = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    else:
        small = image
    if small.size != (side, side):  # after resizing: a square around a panorama would be huge
        ground = Image.new(image.mode, (side, side), _border(image))
        ground.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        small = ground
    return np.asarray(small)


def eight_bit(image: Image.Image, channels: int) -> Image.Image:
    """A picture of any mode as Pillow's "L" (channels 1) or "RGB" (channels 3).

    16 bits of grey are divided by 257, so that 65535 becomes 255. What is transparent shows a white ground,
    as on a page. CMYK and palettes are converted. Raises ValueError for 32-bit and floating-point pixels,
    whose range is not known.
    """
    if image.mode.startswith("I"):  # "I;16", "I;16B", ...; "I" also for a PGM file of 16 bits
        image = _from_16_bit(image)
    elif image.mode == "F":
        raise ValueError("floating-point pixels, but must have 8 or 16 bits")
    mode = "L" if channels == 1 else "RGB"
    if image.has_transparency_data:
        inked = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", inked.size, "white")
        image.paste(inked, mask=inked.getchannel("A"))  # fewer copies of a large picture than alpha_composite
    elif image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")  # of CMYK and others Pillow makes no "L" itself
    return image if image.mode == mode else image.convert(mode)


def _from_16_bit(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("32-bit pixels, but must have 8 or 16 bits")
    # Rounded to the nearest; uint32, because 65535 + 128 does not fit in 16 bits.
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _border(image: Image.Image) -> int | tuple[int, ...]:
    """The median colour of a picture's outermost pixels."""
    w, h = image.size
    edges = [(0, 0, w, 1), (0, h - 1, w, h), (0, 0, 1, h), (w - 1, 0, w, h)]
    bands = len(image.getbands())
    pixels = np.concatenate([np.asarray(image.crop(edge)).reshape(-1, bands) for edge in edges])
    median = tuple(int(value) for value in np.median(pixels, axis=0))
    return median if bands > 1 else median[0]
