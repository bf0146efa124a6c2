"""The benchmark examples of SLICOT for model reduction."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from scipy import sparse

from ssm_gramians import StateSpace

from .._errors import FileFormatError
from ._matrices import dense, floating, on_host, real_coordinates, require_one, sparse_or_dense

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class SlicotExample:
    """A benchmark system with the reference values that come with it, each None where the file has none.

    Parameters
    ----------
    system
        Sparse where the file is.
    hsv
        Hankel singular values, descending.
    frequencies
        In radians per second.
    gains
        The response at iω there as the file has it, its modulus or complex; also for heat-disc, which is discrete.
    """

    system: StateSpace
    hsv: Float[np.ndarray, " n"] | None = None
    frequencies: Float[np.ndarray, " k"] | None = None
    gains: Inexact[np.ndarray, "*shape"] | None = None


def load_slicot(path: str | os.PathLike[str], *, dt: float = 0.0) -> SlicotExample:
    """E x⁺ = A x + B u, y = C x + D u from a .mat file of the SLICOT collection, or from an .npz file of its arrays.

    An .npz file holds A, B, C, D, E under their names, or sparse ones as NAME_data, NAME_indices, NAME_indptr and
    NAME_shape, in compressed columns. A file without C, as those of the MNA circuits, means C = Bᵀ.

    Parameters
    ----------
    path
        Ending in .mat (not of version 7.3, which is HDF5) or .npz.
    dt
        Sampling time in seconds: no file says that its system is discrete, as heat-disc is.

    Raises
    ------
    FileFormatError
        If the file is something else, or lacks A or B.
    OSError
        If it cannot be read.
    """
    held = _read(Path(path))
    if not {"A", "B"} <= set(held):
        msg = f"{os.fspath(path)} holds {sorted(held)}; want at least A and B"
        raise FileFormatError(msg)
    B = dense(held["B"])
    C = dense(held["C"]) if "C" in held else B.T.copy()
    D, E = (held.get(name) for name in "DE")
    A = floating(held["A"])
    system = StateSpace(A, B, C, None if D is None else dense(D), dt, None if E is None else floating(E))
    hsv, frequencies = (_vector(held.get(name)) for name in ("hsv", "w"))
    return SlicotExample(system, None if hsv is None else np.sort(hsv)[::-1], frequencies, _vector(held.get("mag")))


def save_slicot(path: str | os.PathLike[str], example: StateSpace | SlicotExample) -> None:
    """Write A, B, C, and D and E where they say something, to a .mat file, as the SLICOT collection has them.

    The file has no place for a sampling time: pass dt= to `load_slicot`.

    Parameters
    ----------
    path
        Ending in .mat.
    example
        One system, or one with its reference values. Sparse and diagonal matrices are written sparse, a paired system
        as the real one of twice the order.

    Raises
    ------
    FileFormatError
        If the path does not end in .mat.
    ShapeError
        If it is a batch.
    OSError
        If the file cannot be written.
    """
    from scipy.io import savemat

    path = Path(path)
    if path.suffix.lower() != ".mat":
        msg = f"{path} ends in {path.suffix!r}; want .mat, or `save` for an .npz file"
        raise FileFormatError(msg)
    if isinstance(example, StateSpace):
        example = SlicotExample(example)
    system = example.system
    require_one(system, "a SLICOT file")
    B, C = real_coordinates(system)
    held = {"A": sparse_or_dense(system.A), "B": B, "C": C, "hsv": example.hsv, "w": example.frequencies}
    D, E = on_host(system.D), system.E
    held |= {"D": D if D.any() else None, "E": None if E is None else sparse_or_dense(E), "mag": example.gains}
    savemat(path, {name: _for_matlab(M) for name, M in held.items() if M is not None}, oned_as="column")


def _for_matlab(M: Any) -> Any:
    return sparse.csc_matrix(M) if sparse.issparse(M) else M


def _read(path: Path) -> dict[str, Any]:
    readers = {".mat": _read_mat, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        msg = f"{path} ends in {path.suffix!r}; want .mat or .npz"
        raise FileFormatError(msg)
    try:
        return readers[path.suffix.lower()](path)
    except (BadZipFile, EOFError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); want matrices in a .mat file up to version 7.2, or an .npz file"
        raise FileFormatError(msg) from error


def _read_mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def _read_npz(path: Path) -> dict[str, Any]:
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        held: dict[str, Any] = {name: file[name] for name in file}
    for name in [name.removesuffix("_indptr") for name in held if name.endswith("_indptr")]:
        data, indices, indptr, shape = (held.pop(f"{name}_{part}") for part in ("data", "indices", "indptr", "shape"))
        held[name] = sparse.csc_array((data, indices, indptr), shape=tuple(int(size) for size in shape))
    return held


def _vector(values: Any) -> np.ndarray | None:
    """Flatten a column, and leave what is more than that."""
    if values is None:
        return None
    values = dense(values)
    return values.ravel() if max(values.shape) == values.size else values
