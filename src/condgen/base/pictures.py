"""Image grids and PNG files, without Matplotlib, which tracking and drawing do not need."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from condgen.base import files

GAP = 2  # pixels between two pictures
GREY = 48  # of what is between them, dark


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """Images uint8 `[n, h, w]` or `[n, h, w, 3]` -> one picture that shows them row by row on dark grey."""
    n, h, w, *colour = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + GAP) + GAP, columns * (w + GAP) + GAP, *colour), GREY, np.uint8)
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (h + GAP), GAP + i % columns * (w + GAP)
        sheet[top : top + h, left : left + w] = image
    return sheet


def save_png(path: str | Path, image: np.ndarray, scale: int = 1) -> None:
    """Writes a uint8 picture as PNG, each pixel as a square of `scale` pixels."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(scale, 0).repeat(scale, 1)).save(buffer, "PNG", optimize=True)
    files.write(path, buffer.getvalue())
