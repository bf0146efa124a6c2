"""Where ADI and rational Krylov put their poles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .._arrays import Array
from .._pencil import Pencil
from ._block_basis import BlockBasis
from ._wachspress import cheapest_count, wachspress

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


class Shifts(Protocol):
    """A way to choose shifts, with negative real parts; of a conjugate pair only one comes."""

    def first(self, pencil: Pencil, B: Inexact[Array, "n m"], rtol: float) -> Complex[Array, " j"]:
        """Return the shifts to begin with."""
        ...

    def following(
        self, pencil: Pencil, blocks: Inexact[Array, "n k"], used: Complex[Array, " j"]
    ) -> Complex[Array, " j"]:
        """Return the next shifts, given the last columns of the solution and the shifts used last."""
        ...


@dataclass(frozen=True)
class ProjectionShifts:
    r"""Ritz values of the pencil on the newest columns of the solution: they follow what is still missing.

    Parameters
    ----------
    blocks
        How many of the newest steps span the projection space.

    References
    ----------
    P. Benner, P. Kurschner, J. Saak, Electron. Trans. Numer. Anal. 43 (2014) 142-162.
    """

    blocks: int = 6

    def first(self, pencil: Pencil, B: Inexact[Array, "n m"], rtol: float) -> Complex[Array, " j"]:
        """Return Ritz values on B and $F^{-1} B$: the fast and the slow modes that the input excites."""
        del rtol
        return ritz_shifts(pencil, np.concatenate((B, pencil.solve_left(B)), axis=1))

    def following(
        self, pencil: Pencil, blocks: Inexact[Array, "n k"], used: Complex[Array, " j"]
    ) -> Complex[Array, " j"]:
        """Return Ritz values on the newest columns."""
        found = ritz_shifts(pencil, blocks)
        return found if found.size else used


@dataclass(frozen=True)
class WachspressShifts:
    r"""The best shifts for a real spectrum in [a, b]: $p_i = -b\,\mathrm{dn}(\frac{2i-1}{2J}K, k)$, $k^2 = 1-(a/b)^2$.

    The ends of the spectrum come from a few steps of Lanczos each way. For spectra that are not real use others.

    Parameters
    ----------
    count
        J, the shifts of a cycle; each needs a factorisation, which the next cycles reuse. If None, as many as make
        factorisations and solves together cheapest: about 4 for a condition number of 1e5, where one cycle that meets
        the tolerance alone would take 30.

    References
    ----------
    E. L. Wachspress, Comput. Math. Appl. 21 (1991) 43-58; The ADI Model Problem, Springer 2013, chapter 1.
    """

    count: int | None = None

    def first(self, pencil: Pencil, B: Inexact[Array, "n m"], rtol: float) -> Complex[Array, " j"]:
        """Return one cycle, the shifts that act on the slowest modes first."""
        a, b = spectral_interval(pencil)
        return wachspress(a, b, self.count or cheapest_count(a, b, rtol, B.shape[1])).astype(np.complex128)

    def following(
        self, pencil: Pencil, blocks: Inexact[Array, "n k"], used: Complex[Array, " j"]
    ) -> Complex[Array, " j"]:
        """Return the same cycle again."""
        del pencil, blocks
        return used


@dataclass(frozen=True)
class PenzlShifts:
    r"""Ritz values of M and of $M^{-1}$, picked greedily to make $\max\prod_i |t - \bar p_i|/|t + p_i|$ small.

    Parameters
    ----------
    count
        How many are picked; they are used in cycles, and their factors reused.
    large
        Arnoldi steps with M.
    small
        Arnoldi steps with the inverse of M.

    References
    ----------
    T. Penzl, SIAM J. Sci. Comput. 21 (1999) 1401-1418, algorithms 5.1 and 5.2.
    """

    count: int = 16
    large: int = 40
    small: int = 30

    def first(self, pencil: Pencil, B: Inexact[Array, "n m"], rtol: float) -> Complex[Array, " j"]:
        """Return the picked Ritz values."""
        del B, rtol
        ritz = np.concatenate((ritz_values(pencil, self.large), 1 / ritz_values(pencil, self.small, inverse=True)))
        return pick(as_shifts(ritz, pencil.is_complex), self.count, pairs=not pencil.is_complex)

    def following(
        self, pencil: Pencil, blocks: Inexact[Array, "n k"], used: Complex[Array, " j"]
    ) -> Complex[Array, " j"]:
        """Return the same cycle again."""
        del pencil, blocks
        return used


@dataclass(frozen=True)
class FixedShifts:
    """Shifts that are known beforehand, used in cycles.

    Parameters
    ----------
    values
        With negative real parts; of a conjugate pair of a real system only one.
    """

    values: tuple[complex, ...]

    def __post_init__(self) -> None:
        if not self.values or not all(complex(value).real < 0 for value in self.values):
            msg = f"got shifts {self.values}; want at least one, all with negative real part"
            raise ValueError(msg)

    def first(self, pencil: Pencil, B: Inexact[Array, "n m"], rtol: float) -> Complex[Array, " j"]:
        """Return the values."""
        del pencil, B, rtol
        return np.asarray(self.values, dtype=np.complex128)

    def following(
        self, pencil: Pencil, blocks: Inexact[Array, "n k"], used: Complex[Array, " j"]
    ) -> Complex[Array, " j"]:
        """Return the same cycle again."""
        del pencil, blocks
        return used


def ritz_shifts(pencil: Pencil, columns: Inexact[Array, "n k"]) -> Complex[Array, " j"]:
    """Return shifts from the projection of F and G onto the span of the columns."""
    basis = BlockBasis(pencil.order, None, None, columns.dtype)
    basis.append(columns.T, columns.T[:0])
    V = basis.rows.T
    values = generalized_eigenvalues(V.conj().T @ pencil.left(V), V.conj().T @ pencil.right(V))
    return as_shifts(values, pencil.is_complex)


def generalized_eigenvalues(F: Inexact[Array, "k k"], G: Inexact[Array, "k k"]) -> Complex[Array, " k"]:
    r"""Return the $\mu$ with $F v = \mu G v$, infinite ones too."""
    from scipy import linalg

    return linalg.eigvals(F, G)


def as_shifts(values: Complex[Array, " k"], is_complex: bool) -> Complex[Array, " j"]:
    """Return the conjugates, which damp the values, in the left half plane; one of each pair of a real system."""
    values = values[np.isfinite(values) & (values.real != 0)]
    values = -np.abs(values.real) - 1j * values.imag
    if not is_complex:
        small = np.abs(values.imag) <= 1e-8 * np.abs(values)  # a real shift costs half of a complex one
        values = np.where(small, values.real, values)
        values = values[values.imag >= 0]
    return values[np.argsort(-np.abs(values))]


def ritz_values(pencil: Pencil, steps: int, *, inverse: bool = False) -> Complex[Array, " k"]:
    """Return Ritz values of M, or of its inverse, by Arnoldi from a random vector."""
    forward = (
        (lambda X: pencil.solve_right(pencil.left(X)))
        if not inverse
        else (lambda X: pencil.solve_left(pencil.right(X)))
    )
    dtype = np.dtype(np.complex128 if pencil.is_complex else np.float64)
    start = np.random.default_rng(0).standard_normal((1, pencil.order)).astype(dtype)
    basis = BlockBasis(pencil.order, None, None, dtype)
    basis.append(start, start[:0])
    columns = []
    for _ in range(min(steps, pencil.order)):
        image = forward(basis.last.T).T
        basis.append(image, image[:0])
        columns.append(image)
        if basis.ends[-1] == basis.ends[-2]:
            break
    V = basis.rows[: len(columns)]
    return np.linalg.eigvals(V.conj() @ np.concatenate(columns).T)


def spectral_interval(pencil: Pencil, steps: int = 20) -> tuple[float, float]:
    """Return estimates of the least and the largest modulus of an eigenvalue, a little outwards."""
    large = np.abs(ritz_values(pencil, steps)).max()
    small = 1 / np.abs(ritz_values(pencil, steps, inverse=True)).max()
    return 0.98 * float(small), 1.05 * float(large)


def pick(candidates: Complex[Array, " k"], count: int, *, pairs: bool) -> Complex[Array, " j"]:
    """Return the greedy solution of Penzl's minimax problem on the candidates."""
    spectrum = candidates.conj()

    def damping(p: complex) -> Array:
        factor = np.abs((spectrum - np.conj(p)) / (spectrum + p))
        return factor * np.abs((spectrum - p) / (spectrum + np.conj(p))) if pairs and p.imag else factor

    worst = [damping(p).max() for p in candidates]
    chosen = [candidates[int(np.argmin(worst))]]
    product = damping(chosen[0])
    while len(chosen) < min(count, len(candidates)) and product.max() > 0:
        chosen.append(candidates[int(np.argmax(product))])
        product = product * damping(chosen[-1])
    return np.asarray(chosen)
