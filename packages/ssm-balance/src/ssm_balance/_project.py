"""The reduced system that two bases give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from ssm_gramians import Diagonal, ShapeError, StateSpace, Structure

from ._arrays import Array, adjoint, in_double, product, times

if TYPE_CHECKING:
    from jaxtyping import Inexact

_BLOCK = 8192  # states: with 50 columns a few MB, and the calls cost nothing beside the products


def project(system: StateSpace, left: Inexact[Array, "*batch n r"], right: Inexact[Array, "*batch n r"]) -> StateSpace:
    """(leftᴴ A right, leftᴴ B, C right, D), dense and in double precision; leftᴴ E right must be the identity.

    Parameters
    ----------
    system
        The full system; a paired one in its real coordinates [Re x; Im x].
    left, right
        Bases with leftᴴ right = I (leftᴴ E right = I for a descriptor system), shape (..., order, r); real for a
        paired system.

    Returns
    -------
    reduced
        Order r; real for a real or paired system and real bases.

    Raises
    ------
    ShapeError
        If the bases do not have one row per state, or differ in shape.
    """
    if tuple(left.shape) != tuple(right.shape) or left.shape[-2] != system.order:
        msg = (
            f"left and right must both be (..., {system.order}, r), one row for each state of the system; "
            f"got {tuple(left.shape)} and {tuple(right.shape)}"
        )
        raise ShapeError(msg)
    left, right = in_double(left), in_double(right)
    B, C, D = in_double(system.B), in_double(system.C), in_double(system.D)
    if isinstance(system.A, Diagonal):
        return StateSpace(*_diagonal_parts(system.A, B, C, left, right), D, system.dt)
    moved = times(system.A if isinstance(system.A, Structure) else in_double(system.A), right)
    return StateSpace(product(adjoint(left), moved), product(adjoint(left), B), product(C, right), D, system.dt)


def _diagonal_parts(diagonal: Diagonal, B: Array, C: Array, left: Array, right: Array) -> tuple[Array, Array, Array]:
    """leftᴴ A right, leftᴴ B and C right, summed over blocks of states that fit the cache."""
    xp, values = array_namespace(B), in_double(diagonal.eigenvalues)
    states = values.shape[-1]
    A_r: Any = 0.0
    B_r: Any = 0.0
    C_r: Any = 0.0
    for start in range(0, states, _BLOCK):
        rows = slice(start, min(start + _BLOCK, states))
        W, V = (_rows(basis, rows, states, paired=diagonal.paired) for basis in (left, right))
        Wh = adjoint(W)
        A_r = A_r + product(Wh, values[..., rows, None] * V)
        B_r, C_r = B_r + product(Wh, B[..., rows, :]), C_r + product(C[..., :, rows], V)
    return (xp.real(A_r), xp.real(B_r), 2 * xp.real(C_r)) if diagonal.paired else (A_r, B_r, C_r)


def _rows(basis: Array, rows: slice, states: int, *, paired: bool) -> Array:
    """Return these rows; [X; Y] -> X + iY of a paired system.

    The real inner product of the first is the real part of that of the second.
    """
    if not paired:
        return basis[..., rows, :]
    return basis[..., rows, :] + 1j * basis[..., slice(states + rows.start, states + rows.stop), :]
