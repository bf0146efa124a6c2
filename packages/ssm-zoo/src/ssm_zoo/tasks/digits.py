"""Handwritten digits of 8 x 8 pixels, read pixel by pixel: real data that scikit-learn carries along."""

from __future__ import annotations

import torch

from .base import Split, Task

TEST_SIZE = 360
"""A fifth of the 1797 digits; the split is the same for every seed."""


def digits(seed: int = 0) -> Task:
    """Return 1437 training and 360 test sequences of 64 grey values in [0, 1], ten classes.

    The split is stratified and fixed: `seed` is accepted for the sake of `load_task` and changes nothing. There is no
    validation set.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI machine learning repository, 1998.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    inputs = torch.tensor(data.data / 16, dtype=torch.float32)[..., None]  # (1797, 64, 1)
    labels = torch.tensor(data.target, dtype=torch.int64)
    train, test = train_test_split(range(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=0)
    classes = tuple(str(k) for k in range(10))
    return Task("digits", classes, Split(inputs[train], labels[train]), Split(inputs[test], labels[test]))
