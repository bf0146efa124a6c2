"""Systems and reductions in a file of arrays, without pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

from ssm_gramians import StateSpace

from .._errors import FileFormatError
from .._reduction import Reduction
from ._codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT, _VERSION = "ssm-balance", 1


def save(path: str | os.PathLike[str], system: StateSpace | Reduction) -> None:
    """Write a system or a reduction to an .npz file, every array bit for bit with its dtype.

    The file appears whole or not at all: what was there before stays until the last byte is on the disk. Arrays of
    other libraries are written as NumPy arrays and come back as such. NumPy alone can open the file; its entry
    `header` is JSON and says what the other entries are.

    Parameters
    ----------
    path
        Exactly this file; nothing is appended to its name.
    system
        Of any structure but `MatrixFree`; a batch too.

    Raises
    ------
    UnsupportedError
        If A is made of functions.
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    kind = "reduction" if isinstance(system, Reduction) else "system"
    content = encode(system, kind, arrays)
    header = json.dumps({"format": _FORMAT, "version": _VERSION, "content": content})
    _write_atomically(Path(path), {"header": np.array(header), **arrays})


def load(path: str | os.PathLike[str]) -> Any:
    """Return the `StateSpace` or the `Reduction` that `save` wrote.

    Nothing in the file is executed, so that a file from a stranger can do no harm but be large.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileFormatError
        If `save` did not write it, or a newer version of this package did.
    OSError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = _header(file, path)
            return decode(header["content"], file)
    except (BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        msg = f"{os.fspath(path)} cannot be read as a system ({error}); want an .npz file that `save` wrote"
        raise FileFormatError(msg) from error


def _header(file: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> dict[str, Any]:
    header = json.loads(str(file["header"])) if "header" in file else {}
    if header.get("format") != _FORMAT:
        msg = f"{os.fspath(path)} has no header of {_FORMAT}; want a file that `save` wrote, or use `load_slicot`"
        raise FileFormatError(msg)
    if header["version"] > _VERSION:
        msg = f"{os.fspath(path)} has version {header['version']}, and this package reads {_VERSION}; want a newer one"
        raise FileFormatError(msg)
    return header


def _write_atomically(path: Path, arrays: dict[str, np.ndarray]) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")  # beside the target: only then is replacing atomic
    try:
        with open(part, "xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
