r"""Diagonal A: every entry of X is a quotient of its own.

Stein: $X_{ij} = Q_{ij} / (1 - \lambda_i\bar\lambda_j)$; $Q_{ij} / (1 - e^{\ell_i + \bar\ell_j})$ for known logarithms.
Lyapunov: $X_{ij} = -Q_{ij} / (\lambda_i + \bar\lambda_j)$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from .._arrays import Array, as_complex, conj, imag, is_complex, join, namespace, promote, real
from .._diagonal import Diagonal
from .._equations import Equation, Stein
from .._solution import Solution, Status
from .._unit_circle import exp_minus_one
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

Weighting: TypeAlias = Callable[[Array, Array, Array], Array]  # (G, a, b) -> G_ij times a function of a_i conj(b_j)


@dataclass(frozen=True)
class ClosedForm:
    r"""Entry by entry, for a `Diagonal` A, plain or paired; to full relative accuracy for stable modes."""

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"diagonal"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve a Lyapunov or Stein equation with diagonal A."""
        assert isinstance(equation.A, Diagonal)
        if isinstance(equation, Stein) and equation.A.log_eigenvalues is not None:
            X = weigh_modes(Diagonal(equation.A.log_eigenvalues, equation.A.paired), equation.Q, _stein_from_logs)
        elif isinstance(equation, Stein) and _suits_kernel(equation, backend):
            X = backend.paired_stein(equation.Q, equation.A.eigenvalues)
        else:
            quotient = backend.stein_quotient if isinstance(equation, Stein) else backend.lyapunov_quotient
            X = weigh_modes(equation.A, equation.Q, quotient)
        xp = namespace(X)  # every entry is right to rounding or not finite: no need to look at the residual
        return Solution(X, Status.CONVERGED if bool(xp.all(xp.isfinite(X))) else Status.SINGULAR, equation)


def _stein_from_logs(
    G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
) -> Inexact[Array, "*batch n n"]:
    r"""Return $G_{ij} / (1 - e^{a_i + \bar b_j})$, NaN where that is zero."""
    xp = namespace(G)
    distance = -exp_minus_one(a[..., :, None] + conj(b)[..., None, :])
    safe = xp.where(distance == 0, xp.ones_like(distance), distance)
    return xp.where(distance == 0, float("nan") * safe, G / safe)


def _suits_kernel(equation: Equation, backend: Backend) -> bool:
    A, Q = equation.A, equation.Q
    assert Q is not None
    plain = isinstance(A, Diagonal) and A.paired and not is_complex(Q) and tuple(Q.shape) == tuple(A.shape)
    return plain and "diagonal_kernel" in backend.provides


def weigh_modes(A: Diagonal, Q: Inexact[Array, "*batch n n"], weighting: Weighting) -> Inexact[Array, "*batch n n"]:
    r"""Return the matrix whose entries in the coordinates of the modes are Q's, each times its weight.

    For a paired A this is done to $\mathrm{E}[x x^H]$ and $\mathrm{E}[x x^T]$, which together say the same as the real
    second moments of $[\mathrm{Re}\,x; \mathrm{Im}\,x]$.
    """
    if not A.paired:
        slots, G = promote(A.eigenvalues, Q)
        return weighting(G, slots, slots)
    slots = as_complex(A.eigenvalues)
    if namespace(Q).isdtype(Q.dtype, "complex floating"):  # the operator is real: it acts on both parts
        return as_complex(weigh_modes(A, real(Q), weighting)) + 1j * weigh_modes(A, imag(Q), weighting)
    hermitian, symmetric = _to_modes(Q)
    return _from_modes(weighting(hermitian, slots, slots), weighting(symmetric, slots, conj(slots)))


def _to_modes(Q: Inexact[Array, "*batch 2n 2n"]) -> tuple[Complex[Array, "*batch n n"], Complex[Array, "*batch n n"]]:
    """Return E[x x^H] and E[x x^T] for the real second moments Q of [Re x; Im x]."""
    n = Q.shape[-1] // 2
    aa, ab, ba, bb = Q[..., :n, :n], Q[..., :n, n:], Q[..., n:, :n], Q[..., n:, n:]
    return join(aa + bb, ba - ab), join(aa - bb, ba + ab)


def _from_modes(P: Complex[Array, "*batch n n"], S: Complex[Array, "*batch n n"]) -> Inexact[Array, "*batch 2n 2n"]:
    """Return the real second moments of [Re x; Im x] for E[x x^H] = P and E[x x^T] = S."""
    xp = namespace(P)
    top = xp.concat((real(P + S), imag(S - P)), axis=-1)
    bottom = xp.concat((imag(S + P), real(P - S)), axis=-1)
    return xp.concat((top, bottom), axis=-2) / 2


def geometric_weighting(horizon: int, *, average: bool) -> Weighting:
    r"""Weights $\sum_{k<L} w_k (a_i \bar b_j)^k$ with $w_k = 1$, or $1 - k/L$ for the average over the horizons 1..L.

    The sum is doubled along the bits of L, never divided by $1 - a_i\bar b_j$: an eigenvalue on the unit circle, or
    outside, is as good as any other. The relative error is about L eps for modes that outlast the horizon.
    """

    def weighting(G: Array, a: Array, b: Array) -> Array:
        ratio = a[..., :, None] * conj(b)[..., None, :]
        power, total, mean = ratio, namespace(ratio).ones_like(ratio), namespace(ratio).ones_like(ratio)
        length = 1  # power = ratio^length, total = sum over k < length, mean = sum of the totals up to length
        for bit in bin(horizon)[3:]:
            mean = mean + length * total + power * mean
            total, power, length = total + power * total, power * power, 2 * length
            if bit == "1":
                total, power, length = 1 + ratio * total, ratio * power, length + 1
                mean = mean + total
        return G * (mean / horizon if average else total)

    return weighting
