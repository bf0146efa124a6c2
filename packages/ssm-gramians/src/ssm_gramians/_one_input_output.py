r"""One input and one output, diagonal A: both Gramians from one elimination.

Scaled by $T = \mathrm{diag}(t)$ with $t_i^2 = b_i / c_i$ the system is its own dual: $T^{-1} B = (C T)^T = g$ with
$g_i^2 = b_i c_i$. So $P = Z Z^H$ of A and g gives both factors, and $Z_Q^H Z_P$ is the Hankel operator in one basis for
past and future: symmetric.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._arrays import Array, as_complex, imag, is_complex, namespace, real
from ._diagonal import Diagonal, stack_real
from ._gram import Gram
from .solvers import Auto, Cauchy, Solver
from .solvers.auto import LARGE

_ENTRIES = 1 << 16  # at a time: temporary arrays stay in the cache, where fresh memory would cost thrice the rest

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from ._system import StateSpace
    from .backends import Backend
    from .solvers import Factorization


def is_its_own_dual(system: StateSpace, solver: Solver | None, backend: Backend) -> bool:
    """Say whether a scaling makes the system its own dual, and every mode is to be eliminated."""
    A = system.A
    if not isinstance(A, Diagonal) or system.inputs * system.outputs != 1 or system.E is not None:
        return False
    exact = isinstance(solver, Auto | None) and system.order <= LARGE
    if not exact and solver != Cauchy():
        return False
    mapped = A.paired or not any(is_complex(part) for part in (A.eigenvalues, system.B, system.C))
    return mapped and not backend.wants_gradient(*A.arrays, system.B, system.C) and _has_scales(system)


def factors_of_own_dual(prepared: Factorization, system: StateSpace, backend: Backend) -> tuple[Array, Array]:
    r"""Return $Z_P = T Z$ and $Z_Q = T^{-H} \bar Z$ of a system that is its own dual once scaled.

    Parameters
    ----------
    prepared
        The factorisation of its A.
    system
        With `is_its_own_dual`; in double precision.
    backend
        What it was factored with.
    """
    b, c = system.B[..., 0], system.C[..., 0, :]
    assert isinstance(system.A, Diagonal)
    if not system.A.paired:
        xp = namespace(b)
        beta, gamma = xp.sqrt(xp.abs(b)), xp.sqrt(xp.abs(c))
        Z = prepared.solve(Gram((beta * gamma)[..., None])).unwrap().Z
        scale = (beta / gamma)[..., None]
        return Z * (xp.sign(b)[..., None] * scale), Z * (xp.sign(c)[..., None] / scale)
    xp = namespace(b)
    beta, gamma = xp.sqrt(as_complex(b)), xp.sqrt(as_complex(c))
    Z = prepared.solve(Gram(stack_real((beta * gamma)[..., None]))).unwrap().Z
    if "cauchy_kernel" in backend.provides:
        return backend.scaled_pair(beta / gamma, Z)
    t = (beta / gamma)[..., None]
    Z_P = namespace(Z).empty_like(Z)
    _turn(t, Z, Z_P)
    _turn(2 / t, Z, Z, conjugate=True)
    return Z_P, Z


def _has_scales(system: StateSpace) -> bool:
    """Say whether b, c and the square roots of their quotients are neither zero nor infinite."""
    xp = namespace(system.B)
    sizes = xp.abs(system.B[..., 0]), xp.abs(system.C[..., 0, :])
    return all(bool(xp.all((size > 1e-100) & (size < 1e100))) for size in sizes)  # so that no square is lost


def _turn(t: Inexact[Array, "*batch n 1"], Z: Array, out: Array, *, conjugate: bool = False) -> None:
    """Write [Re; Im] of t (x + iy), or of its conjugate, to `out`, for Z = [x; y], which may be the same array."""
    xp, half, sign = namespace(Z), t.shape[-2], -1 if conjugate else 1
    a, b = (xp.reshape(v, (-1, half, 1)) for v in (real(t), imag(t)))
    # each reshape drops batch dimensions from the front, and so is a view
    Z, out = (xp.reshape(v, (-1, *v.shape[-2:])) for v in (Z, out))
    members = max(_ENTRIES // math.prod(Z.shape[-2:]), 1)
    for start in range(0, Z.shape[0], members):
        part = slice(start, min(start + members, Z.shape[0]))
        x, y = Z[part, :half, :], Z[part, half:, :]
        top, bottom = a[part, ...] * x - b[part, ...] * y, (sign * b[part, ...]) * x + (sign * a[part, ...]) * y
        out[part, :half, :] = top
        out[part, half:, :] = bottom
