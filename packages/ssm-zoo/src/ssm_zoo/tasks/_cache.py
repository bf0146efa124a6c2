"""Files from the internet, kept in a cache folder and believed only if their checksum is the official one."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 30.0
"""Seconds without a single byte after which a download is given up."""


def fetch(dataset: str, file: str, sha256: str, mirrors: Sequence[str]) -> Path:
    """Return the path of `file` of `dataset`, downloading it if the cache does not hold it.

    Looks in ``$SSM_ZOO_DATA/<dataset>/`` if that variable is set, and nowhere else; otherwise in
    ``<cache>/ssm-zoo/<dataset>/``, where the cache is ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Parameters
    ----------
    dataset, file
        Name of the folder; name of the file in it and at the mirrors.
    sha256
        The official checksum, in hexadecimal.
    mirrors
        URLs of folders that hold the file; the first that answers with the right content wins.

    Raises
    ------
    DataError
        If the file is missing or has another checksum, or if no mirror gave the right one. Nothing is left behind.
    """
    local = os.environ.get("SSM_ZOO_DATA")
    if local:
        return _verified(Path(local) / dataset / file, sha256)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "ssm-zoo" / dataset / file
    return _verified(path, sha256) if path.exists() else _download(path, sha256, mirrors)


def _verified(path: Path, sha256: str) -> Path:
    if not path.is_file():
        message = f"SSM_ZOO_DATA is set, but {path} is missing; put it there, or unset SSM_ZOO_DATA to download it"
        raise DataError(message)
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != sha256:
        message = f"{path} is not the official file: got sha256 {got}, wanted {sha256}; delete it and run again"
        raise DataError(message)
    return path


def _download(path: Path, sha256: str, mirrors: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{path.name}"
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with open(handle, "wb") as stream:
                got = _copy(url, stream)
            if got == sha256:
                return temporary.replace(path)  # atomic: other processes see all of the file or none
            failures.append(f"{url}: got sha256 {got}, wanted {sha256}")
        except OSError as error:
            failures.append(f"{url}: {error}")
        finally:
            temporary.unlink(missing_ok=True)
    reasons = "\n  ".join(failures)
    message = (
        f"could not download {path.name}:\n  {reasons}\n"
        f"Check the network and run again, or put the official file into <folder>/{path.parent.name}/ "
        "and set SSM_ZOO_DATA=<folder>."
    )
    raise DataError(message)


def _copy(url: str, stream) -> str:  # type: ignore[no-untyped-def]
    digest, received = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        while block := response.read(1 << 16):
            digest.update(block)
            received += stream.write(block)
        promised = response.headers.get("Content-Length")
    if promised is not None and received != int(promised):
        message = f"interrupted after {received} of {promised} bytes"
        raise ConnectionError(message)
    return digest.hexdigest()
