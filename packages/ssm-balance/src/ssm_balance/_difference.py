"""The error system."""

from __future__ import annotations

from array_api_compat import array_namespace

from ssm_gramians import Diagonal, ShapeError, StateSpace, UnsupportedError

from ._arrays import in_double
from ._descriptor import without_descriptor


def difference(first: StateSpace, second: StateSpace) -> StateSpace:
    """G₁ − G₂ as one system of order n₁ + n₂, in double precision.

    Two paired or two plain diagonal systems give one of their kind; anything else is dense.

    Parameters
    ----------
    first, second
        Systems with the same inputs, outputs, batch and dt.

    Raises
    ------
    ShapeError
        If inputs, outputs or batch differ.
    UnsupportedError
        If dt differs.

    Examples
    --------
    >>> import numpy as np
    >>> from ssm_gramians import StateSpace
    >>> lag = StateSpace(-np.eye(1), np.eye(1), np.eye(1))
    >>> float(abs(difference(lag, lag).transfer_function(np.array([1j]))).max())
    0.0
    """
    shapes = [(*system.batch_shape, system.outputs, system.inputs) for system in (first, second)]
    if shapes[0] != shapes[1]:
        msg = f"a difference needs maps of one shape (..., outputs, inputs); got {shapes[0]} and {shapes[1]}"
        raise ShapeError(msg)
    if first.dt != second.dt:
        msg = f"a difference needs one dt; got {first.dt} and {second.dt} seconds: discretise one of them first"
        raise UnsupportedError(msg)
    first, second = without_descriptor(first), without_descriptor(second)
    xp = array_namespace(first.B, second.B)
    if isinstance(first.A, Diagonal) and isinstance(second.A, Diagonal) and first.A.paired == second.A.paired:
        A = Diagonal(_joined(xp, first.A.eigenvalues, second.A.eigenvalues, -1), first.A.paired)
    else:
        first, second = first.to_dense(), second.to_dense()
        A = _block_diagonal(xp, first.A, second.A)
    B, C = _joined(xp, first.B, second.B, -2), _joined(xp, first.C, -second.C, -1)
    return StateSpace(A, B, C, in_double(first.D) - in_double(second.D), first.dt)


def _joined(xp, X, Y, axis):
    dtype = xp.result_type(in_double(X), in_double(Y))
    return xp.concat([xp.astype(X, dtype), xp.astype(Y, dtype)], axis=axis)


def _block_diagonal(xp, X, Y):
    zeros = xp.zeros((*X.shape[:-1], Y.shape[-1]), dtype=X.dtype, device=X.device)
    below = xp.zeros((*Y.shape[:-1], X.shape[-1]), dtype=Y.dtype, device=Y.device)
    return _joined(xp, _joined(xp, X, zeros, -1), _joined(xp, below, Y, -1), -2)
