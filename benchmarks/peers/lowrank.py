"""pyMOR's low-rank ADI, called as its documentation does.

pyMOR factorises with SciPy's SuperLU in its default (column) ordering, once a shift, and keeps no factor.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

AVAILABLE = find_spec("pymor") is not None


def lradi(A, B, E=None, *, shifts="projection_shifts", rtol=1e-10):
    """Return Z with A Z Zᵀ Eᵀ + E Z Zᵀ Aᵀ + B Bᵀ = 0; shifts are `projection_shifts` or `wachspress_shifts`."""
    from pymor.core.logger import set_log_levels
    from pymor.operators.numpy import NumpyMatrixOperator
    from pymor.solvers.matrix_equations.adi import ADILyapunovSolver
    from pymor.solvers.matrix_equations.equations import LyapunovEquation

    set_log_levels({"pymor": "ERROR"})
    operator = NumpyMatrixOperator(A)
    mass = None if E is None else NumpyMatrixOperator(E)
    right_side = operator.source.from_numpy(np.asfortranarray(B))
    equation = LyapunovEquation(operator, mass, right_side, trans=False, cont_time=True)
    return ADILyapunovSolver(adi_tol=rtol, adi_shifts=shifts).solve(equation).to_numpy()
