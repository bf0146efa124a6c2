"""The matrices of one system as other libraries take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ssm_gramians import Diagonal, ShapeError, Sparse, StateSpace, Structure, UnsupportedError

from .._descriptor import without_descriptor
from .._host import to_numpy

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from .._arrays import Array, Matrix


def on_host(X: Inexact[Array, "*shape"]) -> Inexact[np.ndarray, "*shape"]:
    """Copy an array of any library, on any device, into a NumPy array of its dtype."""
    return to_numpy(X).copy()


def require_one(system: StateSpace, library: str) -> None:
    """Raise ShapeError for a batch."""
    if system.batch_shape:
        msg = f"{library} has no batches, and this is one of shape {system.batch_shape}; want its members one by one"
        raise ShapeError(msg)


def dense_matrices(system: StateSpace, library: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return A, B, C, D of one system, dense, E divided out; the real ones of order 2n for a paired system.

    Raises
    ------
    ShapeError
        If it is a batch.
    SingularDescriptorError
        If E is singular.
    """
    require_one(system, library)
    plain = system if system.E is None else without_descriptor(system.to_dense())
    plain = plain.to_dense()
    A, B, C, D = (on_host(X) for X in (plain.A, plain.B, plain.C, plain.D))
    return A, B, C, D


def require_real(matrices: tuple[np.ndarray, ...], library: str) -> None:
    """Raise UnsupportedError where an entry would lose its imaginary part."""
    if any(np.iscomplexobj(X) for X in matrices):
        msg = (
            f"{library} holds real matrices, and these are complex; want a real system: modes with their conjugates "
            "are one as Diagonal(..., paired=True)"
        )
        raise UnsupportedError(msg)


def sparse_or_dense(M: Matrix) -> Any:
    """Return a SciPy sparse array where the matrix is stored as less than its entries; else a NumPy array.

    Diagonal matrices become sparse, diagonal plus low rank dense.
    """
    if isinstance(M, Sparse):
        return M.matrix.copy()
    if isinstance(M, Diagonal):
        values = on_host(M.eigenvalues)
        if not M.paired:
            return sparse.diags_array(values, format="csc")
        a, b = sparse.diags_array(values.real), sparse.diags_array(values.imag)
        return sparse.block_array([[a, -b], [b, a]], format="csc")
    return on_host(M.to_dense() if isinstance(M, Structure) else M)


def floating(X: Any) -> Any:
    """Return X, sparse or as a NumPy array, in floating point: whole numbers become float64."""
    X = X if sparse.issparse(X) else np.array(X)
    return X if X.dtype.kind in "fc" else X.astype(np.float64)


def dense(X: Any) -> np.ndarray:
    """Return X as a NumPy array in floating point."""
    return floating(X.toarray() if sparse.issparse(X) else X)


def sampling_time(found: float | bool | None, given: float | None, library: str) -> float:
    """Return dt in seconds: the one found in a system, or the given one where it says only that time is discrete.

    Parameters
    ----------
    found
        True where the system leaves the time step open.
    given
        What the caller knows of it; None if nothing.
    library
        Where the system comes from.

    Raises
    ------
    UnsupportedError
        If it stays open, or the two differ.
    """
    if found is True or found is None:
        if given is None:
            msg = f"the {library} system leaves its time step open; want dt= in seconds, 0 for continuous time"
            raise UnsupportedError(msg)
        return float(given)
    if given is not None and float(given) != float(found):
        msg = f"the {library} system has dt = {found} and the call says dt={given}; want one of them: leave dt= out"
        raise UnsupportedError(msg)
    return float(found)


def real_coordinates(system: StateSpace) -> tuple[np.ndarray, np.ndarray]:
    """Return B and C that belong to `sparse_or_dense(A)`: [Re B; Im B] and 2 [Re C, −Im C] of a paired system."""
    B, C = on_host(system.B), on_host(system.C)
    if not (isinstance(system.A, Diagonal) and system.A.paired):
        return B, C
    return np.concatenate([B.real, B.imag]), 2 * np.concatenate([C.real, -C.imag], axis=1)
