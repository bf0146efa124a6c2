"""A positive semidefinite matrix by its factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._arrays import Array, adjoint, check_floating
from ._errors import ShapeError
from ._untraced import untraced

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True, eq=False)
class Gram:
    r"""$Z Z^H$, which is never formed.

    As the right-hand side of a Lyapunov or Stein equation it asks for the solution in the same form.

    Parameters
    ----------
    Z
        The factor, shape (..., n, k).

    Raises
    ------
    DtypeError
        If Z is not floating point.
    ShapeError
        If Z has fewer than two axes.
    """

    Z: Inexact[Array, "*batch n k"]

    @untraced
    def __post_init__(self) -> None:
        check_floating(Z=self.Z)
        if self.Z.ndim < 2:
            msg = f"Z has shape {tuple(self.Z.shape)}; want (..., n, k)"
            raise ShapeError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix that this object stands for."""
        return (*self.Z.shape[:-1], self.Z.shape[-2])

    @property
    def ndim(self) -> int:
        """Return the number of axes of that matrix."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Return the dtype of that matrix."""
        return self.Z.dtype

    @property
    def rank(self) -> int:
        """Return the number of columns of Z."""
        return int(self.Z.shape[-1])

    def to_dense(self) -> Inexact[Array, "*batch n n"]:
        r"""Return $Z Z^H$."""
        return self.Z @ adjoint(self.Z)
