"""Image grids and PNG files, without Matplotlib, which tracking and drawing do not need."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from condgen.base import files

GAP = 2  # pixels between two pictures


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """Images uint8 `[n, h, w]` -> one picture, uint8, that shows them row by row on dark grey."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + GAP) + GAP, columns * (w + GAP) + GAP), 48, np.uint8)
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (h + GAP), GAP + i % columns * (w + GAP)
        sheet[top : top + h, left : left + w] = image
    return sheet


def save_png(path: str | Path, image: np.ndarray, scale: int = 1) -> None:
    """Writes a uint8 picture as PNG, each pixel as a square of `scale` pixels."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(scale, 0).repeat(scale, 1)).save(buffer, "PNG", optimize=True)
    files.write(path, buffer.getvalue())
