"""IMDB: film reviews, read byte by byte, that are for the film or against it."""

from __future__ import annotations

import hashlib
import lzma
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._errors import DataError, require
from ._cache import fetch
from .base import Split, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

MIRRORS = ("https://ai.stanford.edu/~amaas/data/sentiment",)
ARCHIVE = "aclImdb_v1.tar.gz"
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
"""The official archive: where it is, its name and its checksum."""

FOLDER = "imdb_bytes"

TEXTS = {
    "train": "adb4d9156083e5775c19e35f96b746f60d1716683b9e6911284fc3e2c7c2157b",
    "test": "75055f6305824731d1116d3ad0e8b8b18c7e2e50bddaf2786d3d4ed5ea0c19a8",
}
"""Checksums of all reviews of a split, those against the film first, each kind by its number, one after the other."""

LONGEST = 4096
"""Bytes of a review that are read, as in the Long Range Arena."""


def imdb(seed: int = 0, length: int = LONGEST) -> Task:
    """Return 22,500 training, 2,500 validation and 25,000 test reviews as bytes, filled up by zeros.

    From ``$SSM_ZOO_DATA/imdb_bytes/``, if that variable is set: ``train.txt.xz``, ``test.txt.xz`` and ``index.npz``, or
    the official archive; without it, the archive is downloaded once.

    Parameters
    ----------
    seed
        What fixes which tenth of the training reviews is held out for validation.
    length
        Bytes of a review that are read; the rest is left out.

    Raises
    ------
    DataError
        If a file cannot be had, or is not the official one.

    References
    ----------
    A. Maas et al., Learning word vectors for sentiment analysis, ACL 2011. Y. Tay et al., Long Range Arena, ICLR 2021.
    """
    require(length >= 1, f"got length={length}, wanted at least 1")
    local = os.environ.get("SSM_ZOO_DATA")
    folder = Path(local) / FOLDER if local else None
    packed = folder is not None and (folder / "index.npz").is_file()
    reviews = _packed(folder) if packed and folder else _archived(fetch(FOLDER, ARCHIVE, SHA256, MIRRORS))
    known, test = (_split(*reviews[name], length) for name in ("train", "test"))
    train, validation = known.parted(seed)
    return Task("imdb", ("negative", "positive"), train, test, validation, vocab_size=256)


def _packed(folder: Path) -> dict[str, tuple[list[bytes], list[int]]]:
    reviews = {}
    with np.load(folder / "index.npz", allow_pickle=False) as index:
        for name in TEXTS:
            raw = lzma.decompress((folder / f"{name}.txt.xz").read_bytes())
            ends = np.cumsum(index[f"{name}_len"].astype(np.int64)).tolist()
            texts = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            reviews[name] = texts, index[f"{name}_label"].tolist()
            _check(texts, name, folder)
    return reviews


def _archived(file: Path) -> dict[str, tuple[list[bytes], list[int]]]:
    found: dict[str, list[tuple[int, int, bytes]]] = {name: [] for name in TEXTS}
    with tarfile.open(file) as archive:
        for member in archive:
            parts = Path(member.name).parts  # aclImdb/train/pos/0_9.txt
            if len(parts) == 4 and parts[1] in found and parts[2] in ("neg", "pos"):
                stream = archive.extractfile(member)
                assert stream is not None
                number = int(parts[3].partition("_")[0])
                found[parts[1]].append((int(parts[2] == "pos"), number, stream.read()))
    reviews = {}
    for name, rows in found.items():
        rows.sort()
        reviews[name] = [text for *_, text in rows], [label for label, *_ in rows]
        _check(reviews[name][0], name, file)
    return reviews


def _check(texts: Iterable[bytes], name: str, where: Path) -> None:
    got = hashlib.sha256(b"".join(texts)).hexdigest()
    wanted = f"wanted {TEXTS[name]}"
    require(got == TEXTS[name], f"{where} does not hold the official {name} reviews: got {got}, {wanted}", DataError)


def _split(texts: list[bytes], labels: list[int], length: int) -> Split:
    ids = np.zeros((len(texts), min(length, max(map(len, texts)))), dtype=np.uint8)
    for row, text in zip(ids, texts, strict=True):
        some = np.frombuffer(text[:length], dtype=np.uint8)
        row[: len(some)] = some
    return Split(torch.from_numpy(ids), torch.tensor(labels))
