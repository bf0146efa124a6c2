"""What A can be besides a dense array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ._arrays import Array, adjoint, as_complex, check_floating, conj, identity, imag, namespace, promote, real
from ._errors import ShapeError

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class Diagonal:
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

    Raises
    ------
    DtypeError
        If the eigenvalues are not floating point.
    ShapeError
        If there is no last axis, or it is empty.
    """

    eigenvalues: Inexact[Array, "*batch n"]
    paired: bool = False

    def __post_init__(self) -> None:
        check_floating(eigenvalues=self.eigenvalues)
        if self.eigenvalues.ndim < 1 or self.eigenvalues.shape[-1] < 1:
            msg = f"eigenvalues have shape {tuple(self.eigenvalues.shape)}; want (..., n) with n >= 1"
            raise ShapeError(msg)

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

    def adjoint(self) -> Diagonal:
        """Return the conjugate transpose, which is diagonal again."""
        return Diagonal(conj(self.eigenvalues), self.paired)

    def times(self, X: Inexact[Array, "*batch order k"]) -> Inexact[Array, "*batch order k"]:
        """Return the product A X without forming A."""
        if not self.paired:
            return self.eigenvalues[..., :, None] * X
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


Matrix: TypeAlias = "Array | Diagonal"


def times(A: Matrix, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
    """Return the product A X for a dense or structured A."""
    if isinstance(A, Diagonal):
        return A.times(X)
    left, right = promote(A, X)
    return left @ right


def adjoint_of(A: Matrix) -> Matrix:
    """Return the conjugate transpose of a dense or structured A."""
    return A.adjoint() if isinstance(A, Diagonal) else adjoint(A)


def to_dense(A: Matrix) -> Inexact[Array, "*batch n n"]:
    """Return a dense or structured A as a dense array."""
    return A.to_dense() if isinstance(A, Diagonal) else A


def stack_real(X: Inexact[Array, "*batch n k"]) -> Float[Array, "*batch order k"]:
    """Return [Re X; Im X]: the rows of a paired system in its real coordinates."""
    return namespace(X).concat((real(X), imag(X)), axis=-2)


def _diagonal_matrix(values: Inexact[Array, "*batch n"]) -> Inexact[Array, "*batch n n"]:
    return values[..., :, None] * identity(values.shape[-1], like=values)
