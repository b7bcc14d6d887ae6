"""Pictures of any size and mode become small squares: unchanged, anti-aliased, not distorted, not clipped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from condgen.base.errors import UserError
from condgen.datasets import resize


@given(st.integers(8, 64).flatmap(lambda n: arrays.arrays(np.uint8, (n, n))))
def test_a_grey_picture_of_the_side_is_unchanged(pixels):
    assert np.array_equal(resize.square(Image.fromarray(pixels), len(pixels), 1), pixels)
    colour = resize.square(Image.fromarray(pixels), len(pixels), 3)
    assert np.array_equal(colour, pixels[..., None].repeat(3, axis=2)), "grey in colour is the same grey"


@given(arrays.arrays(np.uint8, (9, 9, 3)))
def test_a_colour_picture_of_the_side_is_unchanged(pixels):
    assert np.array_equal(resize.square(Image.fromarray(pixels), 9, 3), pixels)


@pytest.mark.parametrize("side", [56, 96, 101])
def test_a_fine_checkerboard_becomes_grey(side):
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize.square(Image.fromarray(board), 28, 1)
    assert small.shape == (28, 28)
    assert np.abs(small[1:-1, 1:-1].astype(int) - 127).max() <= 16


@given(st.integers(0, 255), st.integers(2, 90), st.integers(2, 90), st.sampled_from([1, 3]))
def test_a_picture_of_one_grey_stays_so_whatever_its_shape(level, width, height, channels):
    small = resize.square(Image.new("L", (width, height), level), 28, channels)
    assert (small == level).all()
    assert small.shape == ((28, 28) if channels == 1 else (28, 28, 3))


def test_a_picture_that_is_not_square_is_centred_on_the_colour_of_its_border():
    pixels = np.full((20, 10, 3), (10, 20, 30), np.uint8)
    pixels[5:15, 3:7] = 255
    pixels[0, 0] = 255  # one pixel of the border does not change its median
    small = resize.square(Image.fromarray(pixels), 20, 3)
    assert np.array_equal(small[:, 5:15], pixels), "not distorted"
    assert (small[:, :5] == (10, 20, 30)).all()
    assert (small[:, 15:] == (10, 20, 30)).all()
    assert resize.square(Image.new("L", (1000, 2), 9), 8, 1).tolist() == [[9] * 8] * 8


def test_16_bit_grey_is_scaled_and_not_clipped():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    small = resize.square(Image.fromarray(levels), 256, 1)
    assert np.array_equal(small, np.round(levels / 257).astype(np.uint8))
    assert np.array_equal(resize.square(Image.fromarray(levels.astype(np.int32)), 256, 1), small)


@pytest.mark.parametrize("pixels", [np.full((8, 8), 70000, np.int32), np.full((8, 8), 0.5, np.float32)])
def test_pixels_of_an_unknown_range_are_refused(pixels):
    with pytest.raises(ValueError, match="must have 8 or 16 bits"):
        resize.square(Image.fromarray(pixels), 8, 1)


def test_what_is_transparent_shows_a_white_ground():
    pixels = np.zeros((8, 8, 4), np.uint8)  # black, transparent
    pixels[2:6, 2:6, 3] = 255
    pixels[4, 4] = (0, 0, 0, 128)
    small = resize.square(Image.fromarray(pixels), 8, 1)
    assert (small[0, 0], small[2, 2], small[4, 4]) == (255, 0, 127)
    assert np.array_equal(resize.square(Image.fromarray(pixels).convert("LA"), 8, 1), small)
    palette = Image.new("P", (8, 8))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putpixel((1, 1), 1)
    palette.info["transparency"] = 0
    assert resize.square(palette, 8, 3)[0, 0].tolist() == [255, 255, 255]
    assert resize.square(palette, 8, 3)[1, 1].tolist() == [0, 0, 200]


@pytest.mark.parametrize("mode", ["CMYK", "P", "YCbCr", "HSV", "RGBX", "1"])
def test_other_modes_are_converted(mode):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    picture = red.convert(mode)
    colour = (255, 255, 255) if mode == "1" else (255, 0, 0)
    if mode == "1":
        picture = Image.new("1", (8, 8), 1)
    assert np.abs(resize.square(picture, 8, 3).astype(int) - colour).max() <= 3
    assert np.abs(resize.square(picture, 8, 1).astype(int) - (255 if mode == "1" else 76)).max() <= 3


def test_more_than_can_be_written_is_refused_before_anything_is_read():
    with pytest.raises(UserError, match=r"take 2\.7 GiB, but must take less than 2: make data\.side smaller"):
        resize.stack(iter(()), np.arange(700_000), 64, 1)
