"""Kinds of images that tests use."""

from condgen.datasets.spec import Spec

DIGITS = Spec(classes=tuple("0123456789"), side=28, channels=1)
"""MNIST's."""
SHAPES = Spec(classes=("square", "open circle", "cross"), side=10, channels=3)
"""Neither ten classes, nor 28 x 28 pixels, nor grey."""
