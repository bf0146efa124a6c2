"""SLICOT's Fortran through slycot: real double precision; everything else as the SciPy backend does it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import slycot
from slycot.exceptions import SlycotArithmeticError, SlycotResultWarning

from .._errors import InstabilityError, SingularEquationError
from .scipy import ScipyBackend

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from .._arrays import Array


class SlycotBackend(ScipyBackend):
    """What `scipy` does, and SLICOT's Hammarling solver `SB03OD` for real float64 systems.

    SLICOT overwrites what it is given, so it gets copies; what it reports is heeded, `scale` and every `info` code.
    """

    name: ClassVar[str] = "slycot"
    provides: ClassVar[frozenset[str]] = ScipyBackend.provides | {"hammarling"}

    def hammarling(
        self, A: Inexact[Array, "n n"], B: Inexact[Array, "n m"], *, discrete: bool
    ) -> Inexact[Array, "n n"] | None:
        r"""Return Z with $X = Z Z^H$ for $Q = B B^H$ by `SB03OD`; None if A or B is not real float64."""
        if A.dtype != np.float64 or B.dtype != np.float64:
            return None
        B = np.linalg.qr(B.T)[1].T if B.shape[1] > B.shape[0] else B
        n, m = B.shape
        inputs = np.zeros((n, n), order="F")
        inputs[:m, :] = B.T
        # A^T X + X A = -B^T B in SLICOT's letters, X = U^T U
        arguments = (n, m, np.array(A.T, order="F"), np.zeros((n, n), order="F"), inputs, "D" if discrete else "C")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", SlycotResultWarning)
                U, scale, _ = slycot.sb03od(*arguments, ldwork=max(4 * n, min(n, m) + 64 * n))
        except (SlycotArithmeticError, SlycotResultWarning) as error:
            raise _failure(error) from error
        return np.triu(U[:n, :n]).T / scale


def _failure(error: SlycotArithmeticError | SlycotResultWarning) -> InstabilityError | SingularEquationError:
    """Return our error for what SLICOT reports."""
    if error.info == 1:
        return SingularEquationError("A is stable by less than rounding: the equation is nearly singular")
    if error.info in {2, 3}:
        return InstabilityError("A has an eigenvalue that does not decay: there is no Gramian")
    return SingularEquationError(f"SB03OD failed (info {error.info})")
