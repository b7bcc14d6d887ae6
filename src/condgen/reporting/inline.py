"""Pictures as data: URLs, so that the page is one file."""

import base64
import io

import numpy as np
from PIL import Image

LEVELS = 16  # of grey in a still picture: 4 bits a pixel; more cannot be told apart
FILM_QUALITY = 55  # of WebP, 0 to 100: a film is most of the page's size
COLOUR_QUALITY = 80


def still(pixels: np.ndarray) -> str:
    """A picture uint8 `[h, w]` as PNG in 16 greys, `[h, w, 3]` as WebP."""
    if pixels.ndim == 3:
        return _url(_bytes(Image.fromarray(pixels), "WEBP", quality=COLOUR_QUALITY, method=6), "webp")
    step = 255 / (LEVELS - 1)
    image = Image.fromarray(np.rint(pixels / step).astype(np.uint8)).convert("P")
    image.putpalette([round(level * step) for level in range(LEVELS) for _ in "rgb"])
    return _url(_bytes(image, "PNG", optimize=True, bits=4), "png")


def film(pixels: np.ndarray) -> str:
    """A large sheet of pictures as WebP: a third of the bytes, and what it loses does not show in motion."""
    return _url(_bytes(Image.fromarray(pixels), "WEBP", quality=FILM_QUALITY, method=6), "webp")


def _bytes(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
