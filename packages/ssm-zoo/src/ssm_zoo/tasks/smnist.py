"""Sequential MNIST: handwritten digits of 28 x 28 pixels, read pixel by pixel."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._errors import DataError
from ._cache import fetch
from .base import Split, Task

if TYPE_CHECKING:
    from pathlib import Path

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
"""The official copies of the four files."""

FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""Name and sha256 of each file."""


def smnist(seed: int = 0) -> Task:
    """Return 54,000 training, 6,000 validation and 10,000 test sequences of 784 grey values in [0, 1].

    Parameters
    ----------
    seed
        What fixes which tenth of the official training set is held out for validation.

    Raises
    ------
    DataError
        If a file cannot be had, or is not the official one.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998.
    """
    images, labels, test_images, test_labels = (
        _read_idx(fetch("mnist", file, sha256, MIRRORS)) for file, sha256 in FILES.items()
    )
    known = Split(_sequences(images), torch.from_numpy(labels).long())
    train, validation = known.parted(seed)
    test = Split(_sequences(test_images), torch.from_numpy(test_labels).long())
    return Task("smnist", tuple(str(k) for k in range(10)), train, test, validation)


def _sequences(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).reshape(len(images), -1, 1).float() / 255


def _read_idx(path: Path) -> np.ndarray:
    """Return the array of an idx file: two zero bytes, type 8 (bytes), the number of axes, their lengths, the data."""
    with gzip.open(path) as stream:
        content = stream.read()
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if content[:3] != b"\x00\x00\x08" or data.size != shape.prod():
        message = f"{path} is no idx file: got header {content[:4].hex()}, {data.size} values for shape {shape}"
        raise DataError(message)
    return data.reshape(shape).copy()
