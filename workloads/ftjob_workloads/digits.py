"""Handwritten digits: the real, small data set that the example programs learn.

1,797 scans of 8 x 8 pixels. scikit-learn ships them, so that nothing has to be downloaded: they are the
test part of UCI's "Optical Recognition of Handwritten Digits" (CC BY 4.0). The split is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

CLASSES = 10
TEST = 360
"""Scans to test with; all others are to learn from."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """One part of the data: images (n, 8, 8, 1) from 0 to 1, their labels, and their ids in the whole set."""

    images: Floats
    labels: Ints
    ids: Ints


def load() -> tuple[Digits, Digits]:
    """Read the data set.

    Returns
    -------
    tuple of Digits
        1,437 scans to learn from, and 360 to test with.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8, 1) / 16.0).astype(np.float32)
    ids = np.arange(len(images))
    # The file is ordered by writer; a fixed shuffle gives both parts all writers.
    ids = np.random.default_rng(0).permutation(ids)
    return _part(images, labels, ids[TEST:]), _part(images, labels, ids[:TEST])


def _part(images: Floats, labels: Ints, ids: Ints) -> Digits:
    return Digits(images[ids], labels[ids].astype(np.int64), ids)
