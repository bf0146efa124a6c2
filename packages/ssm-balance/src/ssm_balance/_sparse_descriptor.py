"""Whether a sparse E can be divided by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from ._errors import SingularDescriptorError

if TYPE_CHECKING:
    from ssm_gramians import Structure


def require_regular_sparse(E: Structure) -> None:
    """Raise SingularDescriptorError if E is singular to working precision: from one factorisation, ‖E⁻¹‖₁ estimated."""
    matrix = sparse.csc_array(getattr(E, "matrix", E))
    try:
        factor = linalg.splu(matrix)
    except RuntimeError as failure:  # the only way in which SuperLU says that a matrix is singular
        msg = f"E is singular ({failure}); want a regular E: eliminate the algebraic equations first"
        raise SingularDescriptorError(msg) from failure
    inverse = linalg.LinearOperator(
        matrix.shape, dtype=matrix.dtype, matvec=factor.solve, rmatvec=lambda x: factor.solve(x, trans="H")
    )
    condition = float(linalg.onenormest(inverse) * linalg.norm(matrix, 1))
    if not condition < 1 / np.finfo(float).eps:
        msg = f"E is singular: its condition is {condition:.1e}; want a regular E: eliminate the algebraic equations"
        raise SingularDescriptorError(msg)
