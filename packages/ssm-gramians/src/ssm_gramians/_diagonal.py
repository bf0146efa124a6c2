"""Diagonal matrices, plain or in conjugate pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ._arrays import Array, as_complex, check_floating, conj, identity, imag, namespace, promote, real
from ._errors import ShapeError
from ._structure import Structure
from ._untraced import untraced

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class Diagonal(Structure):
    r"""$A = \mathrm{diag}(\lambda)$, or the real matrix of the modes $\lambda$ and their conjugates.

    With `paired=True` the n eigenvalues are *slots*: each stands for itself and its conjugate. The matrix is then the
    real one of order 2n in the coordinates $\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$,
    $\begin{bmatrix}\mathrm{Re}\,\Lambda & -\mathrm{Im}\,\Lambda\\ \mathrm{Im}\,\Lambda & \mathrm{Re}\,\Lambda
    \end{bmatrix}$.

    Parameters
    ----------
    eigenvalues
        Real or complex, shape (..., n).
    paired
        Whether each eigenvalue brings its conjugate along.
    log_eigenvalues
        $\log\lambda$ where it is known better than $\lambda$, see `from_log`; None otherwise.

    Raises
    ------
    DtypeError
        If the eigenvalues are not floating point.
    ShapeError
        If there is no last axis, or it is empty, or the logarithms have another shape.
    """

    kind: ClassVar[str] = "diagonal"
    eigenvalues: Inexact[Array, "*batch n"]
    paired: bool = False
    log_eigenvalues: Inexact[Array, "*batch n"] | None = None

    @untraced
    def __post_init__(self) -> None:
        check_floating(**dict(zip(("eigenvalues", "log_eigenvalues"), self.arrays, strict=False)))
        if self.eigenvalues.ndim < 1 or self.eigenvalues.shape[-1] < 1:
            msg = f"eigenvalues have shape {tuple(self.eigenvalues.shape)}; want (..., n) with n >= 1"
            raise ShapeError(msg)
        if len({tuple(array.shape) for array in self.arrays}) > 1:
            msg = f"got shapes {[tuple(array.shape) for array in self.arrays]}; want one logarithm for each eigenvalue"
            raise ShapeError(msg)

    @classmethod
    def from_log(cls, log_eigenvalues: Inexact[Array, "*batch n"], *, paired: bool = False) -> Self:
        r"""Return $\mathrm{diag}(e^{\ell})$, remembering $\ell$.

        A layer that steps with $\lambda = e^{\Delta a}$ knows $\ell = \Delta a$ to full precision, while rounding
        $\lambda$ next to the unit circle loses digits of $1 - \lambda_i\bar\lambda_j$ for good. Solvers of the Stein
        equation take it from $\ell$.

        Parameters
        ----------
        log_eigenvalues
            $\ell$, real or complex, shape (..., n).
        paired
            Whether each eigenvalue brings its conjugate along.
        """
        check_floating(log_eigenvalues=log_eigenvalues)
        return cls(namespace(log_eigenvalues).exp(log_eigenvalues), paired, log_eigenvalues)

    @property
    def order(self) -> int:
        """Return the order of the matrix: n, or 2n if paired."""
        return int(self.eigenvalues.shape[-1]) * (2 if self.paired else 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix that this object stands for."""
        return (*self.eigenvalues.shape[:-1], self.order, self.order)

    @property
    def dtype(self) -> Any:
        """Return the dtype of that matrix: real if paired."""
        return real(self.eigenvalues).dtype if self.paired else self.eigenvalues.dtype

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Return the eigenvalues, and their logarithms where known."""
        return (self.eigenvalues,) if self.log_eigenvalues is None else (self.eigenvalues, self.log_eigenvalues)

    def map(self, function: Callable[[Array], Array]) -> Diagonal:
        """Return the same structure with each array replaced by `function(array)`."""
        logs = None if self.log_eigenvalues is None else function(self.log_eigenvalues)
        return Diagonal(function(self.eigenvalues), self.paired, logs)

    def adjoint(self) -> Diagonal:
        """Return the conjugate transpose, which is diagonal again."""
        return self.map(conj)

    def times(self, X: Inexact[Array, "*batch order k"]) -> Inexact[Array, "*batch order k"]:
        """Return the product A X without forming A."""
        if not self.paired:
            values, X = promote(self.eigenvalues, X)
            return values[..., :, None] * X
        xp = namespace(X)
        half = self.order // 2
        top, bottom = X[..., :half, :], X[..., half:, :]
        a, b = real(self.eigenvalues)[..., :, None], imag(self.eigenvalues)[..., :, None]
        return xp.concat((a * top - b * bottom, b * top + a * bottom), axis=-2)

    def to_dense(self) -> Inexact[Array, "*batch order order"]:
        """Return the dense matrix."""
        xp = namespace(self.eigenvalues)
        if not self.paired:
            return _diagonal_matrix(self.eigenvalues)
        a, b = _diagonal_matrix(real(self.eigenvalues)), _diagonal_matrix(imag(self.eigenvalues))
        return xp.concat((xp.concat((a, -b), axis=-1), xp.concat((b, a), axis=-1)), axis=-2)

    def poles(self) -> Inexact[Array, "*batch order"]:
        """Return all eigenvalues of the matrix: the conjugates behind the slots if paired."""
        if not self.paired:
            return self.eigenvalues
        slots = as_complex(self.eigenvalues)
        return namespace(slots).concat((slots, conj(slots)), axis=-1)


def stack_real(X: Inexact[Array, "*batch n k"]) -> Float[Array, "*batch order k"]:
    """Return [Re X; Im X]: the rows of a paired system in its real coordinates."""
    return namespace(X).concat((real(X), imag(X)), axis=-2)


def _diagonal_matrix(values: Inexact[Array, "*batch n"]) -> Inexact[Array, "*batch n n"]:
    return values[..., :, None] * identity(values.shape[-1], like=values)
