"""Which pictures of one's own set are held out for testing, and the order of the training images.

Both depend on the seed below and on the pictures' names or positions, never on the parameter `seed`: the runs
of all seeds see the same data set.
"""

import numpy as np
import torch

from condgen.base import random

SEED = 0


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(training, test): the positions in `labels` `[n]` of either part, the test part stratified.

    A class of n gives round(share * n) images to the test part, but at least one if it has two or more, and
    keeps at least one: at 0.2, a class of 3 gives one, a class of 1 none.
    """
    train, test = [], []
    for label in np.unique(labels):
        mine = _shuffled(np.flatnonzero(labels == label), f"hold out/{label}")
        n = len(mine)
        cut = min(max(round(share * n), 1), n - 1)
        test.append(mine[:cut])
        train.append(mine[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def order(labels: np.ndarray) -> np.ndarray:
    """An order `[n]` in which every prefix has about the share of each class that the whole has.

    Each class is shuffled; the i-th of its n_c images stands at (i + 0.5) / n_c; ties are broken at random.
    So the images up to place t hold t * n_c of each class, to the nearest integer.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        mine = _shuffled(np.flatnonzero(labels == label), f"order/{label}")
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    ties = _shuffled(np.arange(len(labels)), "ties")
    return np.lexsort((ties, place))


def _shuffled(positions: np.ndarray, stream: str) -> np.ndarray:
    generator = random.generator(SEED, f"data/{stream}")
    return positions[torch.randperm(len(positions), generator=generator).numpy()]
