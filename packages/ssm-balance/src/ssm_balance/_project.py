"""The reduced system that two bases give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from ssm_gramians import Diagonal, ShapeError, StateSpace, Structure

from ._arrays import Array, adjoint, in_double, product, times

if TYPE_CHECKING:
    from jaxtyping import Inexact


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
    if not isinstance(system.A, Diagonal):
        moved = times(system.A if isinstance(system.A, Structure) else in_double(system.A), right)
    else:
        if system.A.paired:
            left, right = _folded(left), _folded(right)
        moved = in_double(system.A.eigenvalues)[..., :, None] * right
    A, B, C = product(adjoint(left), moved), product(adjoint(left), B), product(C, right)
    if isinstance(system.A, Diagonal) and system.A.paired:
        xp = array_namespace(A)
        A, B, C = xp.real(A), xp.real(B), 2 * xp.real(C)
    return StateSpace(A, B, C, D, system.dt)


def _folded(basis):
    """[X; Y] -> X + iY: the real inner product of the first is the real part of that of the second."""
    half = basis.shape[-2] // 2
    return basis[..., :half, :] + 1j * basis[..., half:, :]
