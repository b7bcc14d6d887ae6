"""Many pictures as one. Apart from `figures`: the courier needs this, and not the seconds of Matplotlib."""

import numpy as np

GAP = 2  # pixels between two pictures


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 `[n, h, w]` -> one picture, uint8, row by row, on dark grey."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + GAP) + GAP, columns * (w + GAP) + GAP), 48, np.uint8)
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (h + GAP), GAP + i % columns * (w + GAP)
        sheet[top : top + h, left : left + w] = image
    return sheet
