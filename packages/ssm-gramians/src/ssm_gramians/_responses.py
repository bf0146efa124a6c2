"""What a system answers: at frequencies, and step by step."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import array_api_compat

from ._arrays import Array, as_complex, identity, namespace
from ._diagonal import Diagonal
from ._diagonal_plus_low_rank import DiagonalPlusLowRank
from ._sparse import Sparse
from ._structure import Matrix, times, to_dense

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

_CHUNK = 1 << 22  # complex numbers in one temporary of a diagonal system: 64 MiB in double precision


def frequency_response(
    A: Matrix,
    B: Inexact[Array, "*batch n m"],
    C: Inexact[Array, "*batch p n"],
    points: Complex[Array, " k"],
    E: Matrix | None = None,
) -> Complex[Array, "*batch k p m"]:
    r"""$C (sE - A)^{-1} B$ at each point s; with a paired A, of the slots alone, without their conjugates."""
    B, C = as_complex(B), as_complex(C)
    if isinstance(A, Diagonal) and E is None:
        return _modal_response(as_complex(A.eigenvalues), B, C, points)
    if isinstance(A, DiagonalPlusLowRank) and E is None:
        return -C[..., None, :, :] @ A.solve_shifted(-points, B)
    if isinstance(A, Sparse):
        return _sparse_response(A, B, C, points, E)
    A = as_complex(to_dense(A))
    E = identity(A.shape[-1], like=A) if E is None else as_complex(to_dense(E))
    pencil = points[:, None, None] * E[..., None, :, :] - A[..., None, :, :]
    xp = namespace(A)
    right = xp.broadcast_to(B[..., None, :, :], (*pencil.shape[:-1], B.shape[-1]))
    return C[..., None, :, :] @ xp.linalg.solve(pencil, right)


def _sparse_response(A: Sparse, B: Array, C: Array, points: Array, E: Matrix | None) -> Array:
    from scipy import sparse

    held = sparse.eye_array(A.shape[-1]) if E is None else getattr(E, "matrix", E)
    pencils = (sparse.csc_array(point * held - A.matrix) for point in points)
    return namespace(B).stack([C @ sparse.linalg.splu(pencil).solve(B) for pencil in pencils])


def march(
    A: Matrix, B: Array, C: Array, D: Array, inputs: Inexact[Array, "length *batch m k"], state: Array | None = None
) -> Inexact[Array, "*batch length p k"]:
    """Return the outputs of k experiments at once, from the state (..., n, k), or from rest."""
    xp = namespace(B)
    dtype = xp.result_type(A.dtype, B.dtype, C.dtype, D.dtype, inputs.dtype)
    if state is None:
        state = xp.zeros((A.shape[-1], 1), dtype=dtype, device=array_api_compat.device(B))
    state = xp.astype(state, dtype, copy=False)
    outputs = []
    for k in range(inputs.shape[0]):
        u = inputs[k, ...]
        outputs.append(times(C, state) + times(D, u))
        state = times(A, state) + times(B, u)
    return xp.stack(outputs, axis=-3)


def _modal_response(slots: Array, B: Array, C: Array, points: Array) -> Array:
    size, count = max(1, _CHUNK // max(1, prod(C.shape))), points.shape[0]
    pieces = []
    for start in range(0, max(1, count), size):
        gain = 1 / (points[start : min(start + size, count), None] - slots[..., None, :])  # (..., k, n)
        pieces.append((C[..., None, :, :] * gain[..., None, :]) @ B[..., None, :, :])
    return namespace(points).concat(pieces, axis=-3)
