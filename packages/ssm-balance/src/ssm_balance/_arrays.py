"""The few verbs that the array API standard lacks for matrices that may be real or complex."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from array_api_compat import array_namespace

from ssm_gramians import Structure

if TYPE_CHECKING:
    from jaxtyping import Inexact

Array: TypeAlias = Any  # structural: the array libraries share no base class
Matrix: TypeAlias = Any  # an array or a `Structure`


def is_complex(X: Inexact[Array, "*shape"]) -> bool:
    """Say whether the dtype is complex."""
    return bool(array_namespace(X).isdtype(X.dtype, "complex floating"))


def adjoint(X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch k n"]:
    """Xᴴ."""
    xp = array_namespace(X)
    transposed = xp.matrix_transpose(X)
    return xp.conj(transposed) if is_complex(X) else transposed


def product(X: Inexact[Array, "*batch n k"], Y: Inexact[Array, "*batch k m"]) -> Inexact[Array, "*batch n m"]:
    """X Y, also where one is real and the other complex, which Torch does not multiply."""
    xp = array_namespace(X, Y)
    dtype = xp.result_type(X, Y)
    return xp.astype(X, dtype, copy=False) @ xp.astype(Y, dtype, copy=False)


def times(A: Matrix, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
    """Return A X for a dense or structured A."""
    return A.times(X) if isinstance(A, Structure) else product(A, X)


def in_double(X: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
    """X in float64 or complex128: a reduction is computed once and used for ever."""
    xp = array_namespace(X)
    return xp.astype(X, xp.complex128 if is_complex(X) else xp.float64, copy=False)
