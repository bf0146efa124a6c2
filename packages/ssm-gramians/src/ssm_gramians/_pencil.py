"""Lyapunov and Stein equations as one: what low-rank solvers iterate on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ._arrays import Array
from ._equations import Equation, Stein
from ._matrix_pair import MatrixPair, pair_of

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True, eq=False)
class Pencil:
    r"""$F X G^H + G X F^H + B B^H = 0$.

    A Lyapunov equation has F = A, G = E. A Stein equation has $F = A - E$, $G = A + E$, since $F X G^H + G X F^H =
    2 (A X A^H - E X E^H)$, and $\sqrt 2 B$ for B. This is the Cayley transform without its inverse: an eigenvalue of
    $E^{-1} A$ near -1 costs no digits. Its eigenvalues $\mu = (\lambda - 1)/(\lambda + 1)$ are in the left half plane
    when those of $E^{-1} A$ are inside the unit circle.
    """

    pair: MatrixPair
    discrete: bool

    @classmethod
    def of(cls, equation: Equation) -> Pencil:
        """Return the pencil of a Lyapunov or Stein equation."""
        return cls(pair_of(equation), isinstance(equation, Stein))

    @property
    def order(self) -> int:
        """Return the number of rows of X."""
        return self.pair.order

    @property
    def hermitian(self) -> bool:
        """Say whether F and G are."""
        return self.pair.hermitian

    @property
    def is_complex(self) -> bool:
        """Say whether F or G is complex."""
        return self.pair.is_complex

    @property
    def right_is_identity(self) -> bool:
        """Say whether G = I."""
        return self.pair.has_identity and not self.discrete

    def adjoint(self) -> Pencil:
        """Return the pencil of the adjoint equation; it shares the factors."""
        return replace(self, pair=self.pair.adjoint())

    def check_regular(self) -> None:
        """Raise SingularEquationError if E is known to be singular, which an iteration may not notice."""
        self.pair.solve(np.inf, np.zeros((self.order, 1)))

    def right_side(self, B: Inexact[Array, "n m"]) -> Inexact[Array, "n m"]:
        """Return B as the equation of the pencil has it, in double precision and Fortran order."""
        dtype = np.complex128 if np.iscomplexobj(B) else np.float64
        return np.asfortranarray(B, dtype=dtype) * (np.sqrt(2) if self.discrete else 1.0)

    def left(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return F X."""
        return self.pair.times(1.0, -1.0 if self.discrete else 0.0, X)

    def right(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return G X."""
        return X if self.right_is_identity else self.pair.times(1.0 if self.discrete else 0.0, 1.0, X)

    def solve_left(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $F^{-1} X$."""
        return self.pair.solve(-1.0 if self.discrete else 0.0, X)

    def solve_right(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $G^{-1} X$."""
        return self.pair.solve(1.0 if self.discrete else np.inf, X)

    def solve(self, shift: complex, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $(F + s G)^{-1} X$; for a Stein equation $F + s G = (1 + s) A - (1 - s) E$."""
        if not self.discrete:
            return self.pair.solve(shift, X)
        if shift == -1:
            return self.pair.solve(np.inf, X) / -2
        return self.pair.solve((shift - 1) / (shift + 1), X) / (1 + shift)
