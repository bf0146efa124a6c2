"""Gramians whose equations have no definite right-hand side, replaced by those that have one: stability is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from ssm_gramians import StateSpace, gramian_factors

from .._arrays import Array, adjoint, in_double, product
from .._bounds import error_bound
from .._descriptor import undivided, without_descriptor

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from ssm_gramians import Backend, Solver

    from .._truncate import Bound


def definite_factors(
    system: StateSpace,
    Z_P: Inexact[Array, "*batch n k"] | None,
    Z_Q: Inexact[Array, "*batch n l"] | None,
    solver: Solver | None,
    backend: str | Backend | None,
) -> tuple[Array, Array, Bound]:
    r"""Solve A P + P Aᴴ + |X| = 0, where Z_P Z_Pᴴ solves it with an indefinite X = B Yᴴ + Y Bᴴ.

    And the same for Q. With |X| = B̃ B̃ᴴ and its like C̃, truncation of (A, B̃, C̃) keeps stability, and as B = B̃ K,
    C = L C̃, the error of (A, B, C) is at most ‖L‖ ‖K‖ 2 Σ_{i>r} σ_i.

    Parameters
    ----------
    system
        Stable; any E is divided out.
    Z_P, Z_Q
        The factors to begin with, of the system with E divided out; None for the Gramian of all time and frequencies.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    Z_P, Z_Q, bound
        The new factors, fit for a projection with E, and the H∞ error bound as a function of the σ and the order.

    References
    ----------
    S. Gugercin, A. C. Antoulas, Int. J. Control 77 (2004) 748-766, section 5.
    G. Wang, V. Sreeram, W. Q. Liu, IEEE Trans. Automat. Control 44 (1999) 1734-1739.
    """
    plain = without_descriptor(system).to_dense()
    dual = plain.dual()
    B, reached = _definite_input(plain, Z_P)
    Ch, seen = _definite_input(dual, Z_Q)
    A, B, C = of_one_dtype(plain.A, B, adjoint(Ch))
    changed = StateSpace(A, B, C, dt=plain.dt)
    Z_P, Z_Q = gramian_factors(changed, solver=solver, backend=backend)

    def bound(hsv: Float[Array, "*batch n"], order: int) -> Any:
        limit = reached * seen * error_bound(hsv, order)
        return limit.item() if hsv.ndim == 1 else limit

    return Z_P, undivided(system, Z_Q), bound


def _definite_input(system: StateSpace, Z: Array | None) -> tuple[Array, Any]:
    """B̃ and ‖K‖: B̃ B̃ᴴ = |X|, where it vanishes a little more, so that B = B̃ K for certain."""
    A, B = in_double(system.A), in_double(system.B)
    if Z is None:
        return B, 1.0
    xp = array_namespace(B)
    A, B, P = of_one_dtype(A, B, product(Z, adjoint(Z)))
    inverse = xp.linalg.pinv(B)
    moved = A @ P
    X = P - moved @ adjoint(A) if system.is_discrete else -(moved + adjoint(moved))
    Y = X @ adjoint(inverse)
    Y = Y - B @ (inverse @ Y) / 2  # of all Y with X = B Yᴴ + Y Bᴴ the one that makes B⁺ Y Hermitian
    Q, R = xp.linalg.qr(xp.concat([B, Y], axis=-1))
    first, second = R[..., : B.shape[-1]], R[..., B.shape[-1] :]
    half = first @ adjoint(second)
    values, V = xp.linalg.eigh(half + adjoint(half))
    size = xp.abs(values)
    size = xp.maximum(size, xp.finfo(size.dtype).eps * xp.max(size, axis=-1, keepdims=True))
    root = xp.sqrt(size)
    K = adjoint(V) @ first / root[..., :, None]
    return (Q @ V) * root[..., None, :], xp.linalg.matrix_norm(K, ord=2)


def of_one_dtype(*matrices: Array) -> tuple[Array, ...]:
    """Return the matrices in double precision, all real or all complex."""
    matrices = tuple(in_double(M) for M in matrices)
    xp = array_namespace(*matrices)
    dtype = xp.result_type(*matrices)
    return tuple(xp.astype(M, dtype, copy=False) for M in matrices)
