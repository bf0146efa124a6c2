"""The sources of Python's standard library, byte by byte: real text that every Python carries along."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

import torch

from .._errors import DataError
from .text import Text, windows

LEFT_OUT = frozenset({"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"})
"""Folders that hold other packages, or tests that not every Python has."""

SHARE = 20
"""One file in so many is for validation, and one for the test."""

VALIDATED, TESTED = 200, 2000
"""Windows looked at while training, and at the end."""


def stdlib_bytes(seed: int = 0, length: int = 256) -> Text:
    """Return windows of the standard library's sources: some 10 million bytes to learn from.

    Files are read in the order of their names, each followed by a zero byte. The name also decides whether a file is
    for training, validation or the test, so equal files fall into equal splits in every version of Python. The text is
    that of the Python that runs: figures compare only where its version is the same.

    Parameters
    ----------
    seed
        Accepted for the sake of `load_task`; changes nothing.
    length
        Bytes of a window.

    Raises
    ------
    DataError
        If this Python carries no sources along.
    """
    return text_of(library(), length)


def library() -> Path:
    """Return the folder of the standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def text_of(folder: Path, length: int) -> Text:
    """Return the text of all Python files in a folder."""
    parts: dict[str, list[bytes]] = {"test": [], "validation": [], "train": []}
    names = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    for name, file in sorted(names.items()):
        generated = file.name.startswith("_sysconfigdata")  # describes the machine it was built on
        if not generated and not LEFT_OUT & set(Path(name).parts):
            parts[_split(name)].append(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    if not all(parts.values()):
        message = f"{folder} holds too few Python sources to learn from; want a Python with its standard library"
        raise DataError(message)
    texts = {name: torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8) for name, files in parts.items()}
    test, validation = windows(texts["test"], length, TESTED), windows(texts["validation"], length, VALIDATED)
    return Text("bytes", length, texts["train"], test, validation)


def _split(name: str) -> str:
    place = hashlib.sha256(name.encode()).digest()[0] % SHARE
    return {0: "test", 1: "validation"}.get(place, "train")
