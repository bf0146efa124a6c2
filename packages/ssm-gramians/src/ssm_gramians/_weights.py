"""Weights at the inputs and the outputs, as factors in B and C."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, check_finite, check_floating, is_complex, namespace, promote
from ._diagonal import Diagonal
from ._errors import DtypeError, ShapeError
from ._untraced import untraced
from .backends import get_backend

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from ._system import StateSpace


@untraced
def weighted(
    system: StateSpace,
    *,
    input_weight: Inexact[Array, "*#batch m m"] | None = None,
    output_weight: Inexact[Array, "*#batch p p"] | None = None,
) -> StateSpace:
    r"""Return the system whose Gramians have $B W B^H$ for $B B^H$, and $C^H V C$ for $C^H C$.

    With factors $W = W_1 W_1^H$ and $V = V_1 V_1^H$ it is $(A, B W_1, V_1^H C, V_1^H D W_1)$: its inputs are white
    where those of the system have the covariance W, and the energy of its outputs is $y^H V y$.

    Parameters
    ----------
    system
        Any.
    input_weight
        W, Hermitian positive semidefinite, shape (..., m, m) or (m, m); real for a paired system. Identity if None.
    output_weight
        V, Hermitian positive semidefinite, shape (..., p, p) or (p, p); real for a paired system. Identity if None.

    Raises
    ------
    ShapeError
        If a weight does not have the order of the inputs or outputs.
    DtypeError
        If libraries, precisions or devices differ, or a weight of a paired system is complex.
    ValueError
        If a weight is not Hermitian, or has a negative eigenvalue.
    """
    B, C, D = system.B, system.C, system.D
    if input_weight is not None:
        root = _root(system, input_weight, "input_weight", system.inputs)
        B, D = _product(B, root), _product(D, root)
    if output_weight is not None:
        root = adjoint(_root(system, output_weight, "output_weight", system.outputs))
        C, D = _product(root, C), _product(root, D)
    return replace(system, B=B, C=C, D=D)


def _root(system: StateSpace, weight: Array, name: str, order: int) -> Array:
    """Return a factor of a weight, after every check."""
    check_floating(B=system.B, **{name: weight})
    shape = tuple(weight.shape)
    if shape[-2:] != (order, order) or shape[:-2] not in {(), system.batch_shape}:
        msg = f"{name} has shape {shape}; want {(*system.batch_shape, order, order)} or {(order, order)}"
        raise ShapeError(msg)
    if isinstance(system.A, Diagonal) and system.A.paired and is_complex(weight):
        msg = f"{name} has dtype {weight.dtype}; want a real weight, since the map of a paired system is real"
        raise DtypeError(msg)
    check_finite(**{name: weight})
    _check_semidefinite(weight, name)
    root = get_backend(weight).factor(weight)
    return (
        root
        if shape[:-2] == system.batch_shape
        else root + namespace(root).zeros((*system.batch_shape, *root.shape[-2:]), dtype=root.dtype, device=root.device)
    )


def _check_semidefinite(weight: Array, name: str) -> None:
    xp = namespace(weight)
    if 0 in weight.shape:
        return
    limit = 10 * weight.shape[-1] * float(xp.finfo(weight.dtype).eps)  # rounding of whoever formed the weight
    size = xp.max(xp.abs(weight), axis=(-2, -1))
    skew = xp.max(xp.abs(weight - adjoint(weight)), axis=(-2, -1))
    if bool(xp.any(skew > limit * size)):
        msg = f"{name} is not Hermitian; want W = W^H"
        raise ValueError(msg)
    lowest = xp.linalg.eigvalsh((weight + adjoint(weight)) / 2)[..., 0]
    if bool(xp.any(lowest < -limit * size)):
        msg = f"{name} has the eigenvalue {float(xp.min(lowest)):.3g}; want a positive semidefinite weight"
        raise ValueError(msg)


def _product(left: Array, right: Array) -> Array:
    left, right = promote(left, right)
    return left @ right
