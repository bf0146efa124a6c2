"""What a backend must be: the generic one, which asks for nothing beyond the array API standard."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, adjoint, namespace, real
from .._errors import UnsupportedError

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact


class Backend:
    """The arithmetic for one kind of array; by itself, for any library that follows the array API standard.

    A subclass adds what the standard lacks, or does it faster, and says so in `provides`: nothing else decides which
    solver runs where. The words are:

    ========================  =================================================================================
    `"array"`                 the array API standard with its `linalg` extension
    `"eigenvalues"`           `eigenvalues(A)` of a general matrix
    `"schur"`                 `schur(A)`
    `"triangular_sylvester"`  `triangular_sylvester(S, T, Q)`
    `"pivoted_cholesky"`      `factor(X)` by Cholesky with diagonal pivoting
    `"diagonal_kernel"`       `divide(...)` as one fused loop
    `"autograd"`              gradients flow through every generic algorithm
    ========================  =================================================================================
    """

    name: ClassVar[str] = "array"
    provides: ClassVar[frozenset[str]] = frozenset({"array"})

    def owns(self, array: Array) -> bool:
        """Say whether this backend computes on arrays of this type."""
        try:
            namespace(array)
        except TypeError:
            return False
        return True

    def eps(self, array: Array) -> float:
        """Return the unit roundoff of the array's dtype, twice over: the spacing at 1."""
        return float(namespace(array).finfo(array.dtype).eps)

    def norm(self, X: Inexact[Array, "*batch n m"]) -> Float[Array, "*batch"]:
        """Return the Frobenius norm of each matrix."""
        return namespace(X).linalg.matrix_norm(X)

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        raise self._lacks("eigenvalues")

    def schur(self, A: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        r"""Return U and T with $A = U T U^H$, T upper (quasi-)triangular."""
        raise self._lacks("schur")

    def triangular_sylvester(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X + X T^H = Q$ for upper (quasi-)triangular S and T."""
        raise self._lacks("triangular_sylvester")

    def factor(self, X: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch n k"]:
        r"""Return Z with $X = Z Z^H$, exact relative to the diagonal: $|E_{ij}| \lesssim \epsilon\sqrt{X_{ii}X_{jj}}$.

        The matrix is scaled to unit diagonal before its eigenvalues are taken, so that small states keep their digits;
        eigenvalues below rounding become zero columns.
        """
        xp = namespace(X)
        scale, unit = unit_diagonal(X)
        values, vectors = xp.linalg.eigh(unit)
        root = xp.sqrt(xp.clip(values, 0.0))
        return scale[..., :, None] * (vectors * root[..., None, :])

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, for timing."""

    def _lacks(self, capability: str) -> UnsupportedError:
        return UnsupportedError(
            f"backend {self.name!r} does not provide {capability!r} (it provides {', '.join(sorted(self.provides))}); "
            "choose another backend or a solver that needs less"
        )


def unit_diagonal(X: Inexact[Array, "*batch n n"]) -> tuple[Float[Array, "*batch n"], Inexact[Array, "*batch n n"]]:
    r"""Return s and U with $X = \mathrm{diag}(s)\,U\,\mathrm{diag}(s)$, U Hermitian with unit diagonal (or a zero row)."""
    xp = namespace(X)
    diagonal = real(xp.linalg.diagonal(X))
    scale = xp.sqrt(xp.clip(diagonal, 0.0))
    inverse = xp.where(scale > 0, 1 / xp.where(scale > 0, scale, xp.ones_like(scale)), xp.zeros_like(scale))
    unit = X * inverse[..., :, None] * inverse[..., None, :]
    return scale, (unit + adjoint(unit)) / 2
