"""Factors of Gramians of diagonal systems, right in every entry, so that no Hankel singular value is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, as_complex, is_complex, join, namespace, promote
from .._diagonal import Diagonal
from .._equations import Equation
from .._gram import Gram
from .._solution import Solution, Status
from ..backends import Backend
from ._cauchy_compiled import eliminate_compiled
from ._cauchy_greedy import Factor, Remainder, eliminate_greedily
from ._cauchy_many import MANY, eliminate_many
from ._cauchy_pairing import Modes, modes_of
from ._cauchy_single import PairedSingleInput, SingleInput
from ._cauchy_tangential import PairedSeveralInputs, SeveralInputs

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True)
class Cauchy:
    r"""$X = Z Z^H$ for a `Diagonal` A and $Q = B B^H$, by pivoted elimination on B and the eigenvalues.

    $X_{ij} = -b_i b_j^H/(\lambda_i + \bar\lambda_j)$, or $b_i b_j^H/(1 - \lambda_i\bar\lambda_j)$, is never formed. The
    rows b are multiplied by quotients of sums and differences of eigenvalues, which do not cancel; so each entry of Z
    is right to rounding, and the singular values of $Z_Q^H Z_P$ are right down to the smallest. With several inputs
    the rows are carried in twice the precision to that end. A paired A has a real Z.

    With a tolerance it is a low-rank method: low-rank ADI with the eigenvalue that matters most as the next shift.
    The trace of what is left is known exactly. Where it falls too slowly for `max_rank` columns, as for lightly damped
    modes over a wide range of frequencies, the solver stops early and says so.

    Parameters
    ----------
    rtol
        Stop when the trace of $X - Z Z^H$ is below this times the trace of X; 0 for all of X.
    max_rank
        Columns of Z at most; None for no limit at rtol = 0, and for 1000 else.

    References
    ----------
    J. Demmel, SIAM J. Matrix Anal. Appl. 21 (1999) 562-580. T. S. Haut, G. Beylkin, SIAM J. Matrix Anal. Appl. 33
    (2012) 1101-1125. I. Gohberg, T. Kailath, V. Olshevsky, Math. Comp. 64 (1995) 1557-1576.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"diagonal"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"gram"})
    descriptor: ClassVar[bool] = False
    rtol: float = 0.0
    max_rank: int | None = None

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Eliminate modes until the rest is small enough."""
        assert isinstance(equation.Q, Gram)
        modes, B, paired, folded = _unfolded(equation)
        xp = namespace(B)
        if not bool(xp.all(modes.margin > 0)):
            return Solution(Gram(equation.Q.Z * float("nan")), Status.DIVERGED, equation)
        if B.shape[-1] == 0:
            return Solution(equation.Q, Status.CONVERGED, equation)
        found = self._factor(modes, B, paired, backend)
        Z = _folded(found.Z) if folded else found.Z
        return Solution(Gram(Z), Status.CONVERGED if found.converged else Status.NOT_LOW_RANK, equation, found.steps)

    def _factor(self, modes: Modes, B: Array, paired: bool, backend: Backend) -> Factor:
        rank = self.max_rank or (1000 if self.rtol > 0 else 2 * B.shape[-2])
        limit = max(rank // 2 if paired else rank, 1)
        compiled = eliminate_compiled(modes, B, paired, backend, rtol=self.rtol, limit=limit)
        if compiled is not None:
            return compiled
        start: Remainder
        if B.shape[-1] == 1:
            start = (PairedSingleInput if paired else SingleInput)(modes, B[..., 0])
        else:
            start = (PairedSeveralInputs if paired else SeveralInputs).of(modes, B, twofold=self.rtol == 0)
        large = B.ndim == 2 and B.shape[0] >= MANY and self.rtol > 0
        return (eliminate_many if large else eliminate_greedily)(start, rtol=self.rtol, limit=limit)


def _unfolded(equation: Equation) -> tuple[Modes, Inexact[Array, "*batch n m"], bool, bool]:
    """Return modes and generator rows of one batch shape, and whether the modes stand for conjugates too.

    A complex right-hand side of a paired A leaves no symmetry: then modes and conjugates are listed one by one, and the
    factor must be folded.
    """
    assert isinstance(equation.A, Diagonal)
    assert isinstance(equation.Q, Gram)
    modes, B, paired = modes_of(equation), equation.Q.Z, equation.A.paired
    folded = paired and is_complex(B)
    if paired:
        half = B.shape[-2] // 2
        top, bottom = B[..., :half, :], B[..., half:, :]
        if folded:
            modes, B = modes.with_conjugates(), namespace(B).concat((top + 1j * bottom, top - 1j * bottom), axis=-2)
            paired = False
        else:
            B = join(top, bottom)
    xp = namespace(B)
    x, B = promote(modes.x, B)
    batch = max(tuple(x.shape[:-1]), tuple(B.shape[:-2]), key=len)
    B = xp.broadcast_to(B, (*batch, *B.shape[-2:]))
    return modes.map(lambda v: xp.broadcast_to(v, (*batch, v.shape[-1]))).cast(x.dtype), B, paired, folded


def _folded(Z: Inexact[Array, "*batch 2n k"]) -> Inexact[Array, "*batch 2n k"]:
    """Return the factor over modes and conjugates in the coordinates [Re x; Im x]."""
    half = Z.shape[-2] // 2
    top, bottom = as_complex(Z[..., :half, :]), as_complex(Z[..., half:, :])
    return namespace(Z).concat((top + bottom, (top - bottom) / 1j), axis=-2) / 2
