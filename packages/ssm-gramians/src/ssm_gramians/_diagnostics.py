"""How far to trust a solution: one report."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

from ._arrays import Array, adjoint, namespace, promote
from ._equations import Equation, Lyapunov, Stein, dense_right_side
from ._gram import Gram
from ._residual import relative_residual
from ._separation import separation
from ._slowest_pole import growth, slowest_pole
from ._solution import Solution
from ._solve import factor
from ._structure import kind_of, map_arrays, to_dense
from ._untraced import untraced
from .backends import get_backend

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact

    from .backends import Backend
    from .solvers import Solver


@dataclass(frozen=True, eq=False)
class Diagnosis:
    r"""What is known about a solution X; `print` it for a summary. None stands for what was not to be had.

    Parameters
    ----------
    name
        That of the equation: `"lyapunov"`, `"stein"`, `"sylvester"`.
    order
        Rows of X.
    factored
        Whether X came as a `Gram`.
    eps
        Spacing of the floating-point numbers at 1.
    size
        $\lVert X\rVert_F$, shape (...).
    residual
        The relative residual, shape (...).
    slowest
        The pole that decays least, shape (...), complex.
    separation
        An estimate of $\mathrm{sep} = 1 / \lVert\mathcal{L}^{-1}\rVert_F$, shape (...): below it lie the perturbations
        of the operator that can make it singular.
    error
        $\lVert\Delta X\rVert_F / \lVert X\rVert_F \lesssim (\lVert R\rVert_F + \epsilon \sum_i \lVert |T_i| \rVert_F) /
        (\mathrm{sep} \lVert X\rVert_F)$, shape (...), for the residual R and the terms $|T_i|$ of the equation in
        moduli: what the residual proves, and no less than what rounding the entries of A and Q does to X.
    lowest
        The lowest eigenvalue of a Hermitian X over the largest in modulus, shape (...).
    """

    name: str
    order: int
    factored: bool
    eps: float
    size: Float[Array, "*batch"]
    residual: Float[Array, "*batch"]
    slowest: Complex[Array, "*batch"] | None
    separation: Float[Array, "*batch"] | None
    error: Float[Array, "*batch"] | None
    lowest: Float[Array, "*batch"] | None

    @property
    def growth(self) -> Float[Array, "*batch"] | None:
        """Return the spectral abscissa, or the spectral radius less 1; negative for a stable A."""
        return None if self.slowest is None else growth(self.slowest, discrete=self.name == "stein")

    @property
    def concerns(self) -> tuple[str, ...]:
        """Return what speaks against the solution, in words; empty if nothing does."""
        return tuple(text for text in (self._stability(), self._accuracy(), self._definiteness()) if text)

    def __str__(self) -> str:
        lines = [f"{self.name} equation of order {self.order}, {'factor' if self.factored else 'full solution'}"]
        lines.append(f"  relative residual  {_worst(self.residual):.1e}")
        if self.slowest is not None and self.growth is not None and _count(self.growth):
            word = "radius - 1" if self.name == "stein" else "abscissa"
            lines.append(f"  spectral {word}  {_worst(self.growth):.3e}")
        if self.separation is not None:
            lines.append(f"  separation  {-_worst(-self.separation):.1e} (estimate)")
        if self.error is not None:
            digits = max(0, int(-log10(max(_worst(self.error), self.eps))))
            lines.append(f"  relative error  {_worst(self.error):.1e} (estimate): {digits} digits")
        return "\n".join([*lines, *(f"  ! {text}" for text in self.concerns)])

    def _stability(self) -> str | None:
        rate = self.growth
        if rate is None or not _count(rate):
            return None
        worst = _worst(rate)
        if worst >= 0:
            return f"a mode does not decay (growth {worst:.2e}): X is no Gramian"
        if self.error is not None and _worst(self.error) > self.eps**0.5 and worst > -(self.eps**0.5):
            return f"nearly unstable: the slowest mode decays by {-worst:.1e} only"
        return None

    def _accuracy(self) -> str | None:
        worst = _worst(self.residual if self.error is None else self.error)
        if worst <= self.eps**0.5:
            return None
        return (
            f"relative {'residual' if self.error is None else 'error'} up to {worst:.1e}: less than half of the digits"
        )

    def _definiteness(self) -> str | None:
        if self.lowest is None or not _count(self.lowest):
            return None
        worst, limit = -_worst(-self.lowest), self.eps * self.order
        limit = limit if self.error is None else max(limit, _worst(self.error))
        return f"indefinite: an eigenvalue of {worst:.1e} of the largest" if worst < -limit else None


@untraced
def diagnose(
    equation: Equation,
    X: Solution | Inexact[Array, "*batch n m"] | Gram,
    *,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Diagnosis:
    """Return residual, slowest pole, separation and an error estimate of a solution.

    The separation takes about ten solves with one factorisation, and all eigenvalues of A are computed: several times
    the cost of the solution itself. For sparse and matrix-free A no separation is estimated.

    Parameters
    ----------
    equation
        With its right-hand side.
    X
        A `Solution` of it, or its value.
    solver
        For the solves that the estimate takes; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.
    """
    chosen = get_backend(next(reversed(equation.arrays.values())) if backend is None else backend)
    equation, value = _constant(equation, X.value if isinstance(X, Solution) else X, chosen)
    array = value.Z if isinstance(value, Gram) else value
    xp, hermitian = namespace(array), isinstance(equation, Lyapunov | Stein)
    eps, residual = float(xp.finfo(array.dtype).eps), relative_residual(equation, value)
    slowest = (
        slowest_pole(equation.A, equation.matrices.get("E"), discrete=equation.name == "stein") if hermitian else None
    )
    sep = error = lowest = None
    size = xp.linalg.matrix_norm(adjoint(array) @ array if isinstance(value, Gram) else array)
    if kind_of(equation.A) not in {"sparse", "matrix_free"}:
        sep = separation(equation, factor(equation, solver, backend))
        error = _error(equation, value, sep)
        lowest = _lowest(value) if hermitian and not isinstance(value, Gram) else None
    factored = isinstance(value, Gram)
    return Diagnosis(equation.name, value.shape[-2], factored, eps, size, residual, slowest, sep, error, lowest)


def _constant(equation: Equation, value: Array | Gram, backend: Backend) -> tuple[Equation, Array | Gram]:
    """Return the equation and the value without gradients."""

    def plain(side: Array | Gram | None) -> Any:
        return Gram(backend.constant(side.Z)) if isinstance(side, Gram) else backend.constant(side)

    matrices: dict[str, Any] = {name: map_arrays(M, backend.constant) for name, M in equation.matrices.items()}
    kind: Any = type(equation)
    return kind(**matrices, Q=plain(equation.Q)), plain(value)


def _error(equation: Equation, value: Array | Gram, sep: Array) -> Array:
    X = dense_right_side(value)
    xp = namespace(X)
    rest = xp.linalg.matrix_norm(sum(promote(*equation.terms(X))))
    moduli: dict[str, Any] = {name: xp.abs(to_dense(M)) for name, M in equation.matrices.items()}
    moduli["Q"] = xp.abs(dense_right_side(equation.Q))
    rounding = sum(xp.linalg.matrix_norm(term) for term in type(equation)(**moduli).terms(xp.abs(X)))
    size = sep * xp.linalg.matrix_norm(X)
    level = rest + float(xp.finfo(X.dtype).eps) * rounding
    bound = level / xp.where(size > 0, size, xp.ones_like(size))
    return xp.where((size == 0) & (rounding > 0), float("inf") * xp.ones_like(bound), bound)


def _lowest(X: Array) -> Array | None:
    xp = namespace(X)
    gap, size = xp.linalg.matrix_norm(X - adjoint(X)), xp.linalg.matrix_norm(X)
    if not bool(xp.all(gap <= float(xp.finfo(X.dtype).eps) ** 0.5 * size)):
        return None
    values = xp.linalg.eigvalsh((X + adjoint(X)) / 2)
    largest = xp.max(xp.abs(values), axis=-1)
    return values[..., 0] / xp.where(largest > 0, largest, xp.ones_like(largest))


def _worst(values: Array) -> float:
    return float(namespace(values).max(values)) if _count(values) else 0.0


def _count(values: Array) -> int:
    return 0 if 0 in values.shape else 1
