"""What a system answers: at frequencies, and step by step."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import array_api_compat

from ._arrays import Array, as_complex, identity, namespace
from ._structure import Diagonal, Matrix, times

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

_CHUNK = 1 << 22  # complex numbers in one temporary of a diagonal system: 64 MiB in double precision


def frequency_response(
    A: Matrix, B: Inexact[Array, "*batch n m"], C: Inexact[Array, "*batch p n"], points: Complex[Array, " k"]
) -> Complex[Array, "*batch k p m"]:
    r"""$C (sI - A)^{-1} B$ at each point s; with a paired A, of the slots alone, without their conjugates."""
    B, C = as_complex(B), as_complex(C)
    if isinstance(A, Diagonal):
        return _modal_response(as_complex(A.eigenvalues), B, C, points)
    A = as_complex(A)
    pencil = points[:, None, None] * identity(A.shape[-1], like=A) - A[..., None, :, :]
    xp = namespace(A)
    right = xp.broadcast_to(B[..., None, :, :], (*pencil.shape[:-1], B.shape[-1]))
    return C[..., None, :, :] @ xp.linalg.solve(pencil, right)


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
