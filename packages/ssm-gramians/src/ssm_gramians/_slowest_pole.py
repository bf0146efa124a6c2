"""The mode that decays least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._arrays import Array, as_complex, namespace, promote, real
from ._errors import UnsupportedError
from ._sparse import Sparse
from ._structure import Matrix, Structure, arrays_of, kind_of, to_dense

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

_DENSE = 500  # up to this order all eigenvalues of a sparse matrix cost less than a second
_RITZ = 6  # values that ARPACK is asked for
_COARSE = 1e-4  # where the spectrum is dense, as it is at its outer end, more digits take very many steps


def slowest_pole(A: Matrix, E: Matrix | None, *, discrete: bool) -> Complex[Array, "*batch"] | None:
    r"""Return the eigenvalue of $E^{-1} A$ with the largest real part, or modulus in discrete time.

    For a large sparse matrix the worst of a few Ritz values from ARPACK: evidence that is strong for an unstable mode
    and weak for stability.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), or a structure.
    E
        Dense, sparse, or None for the identity.
    discrete
        Whether decay means a modulus below 1 instead of a real part below 0.

    Returns
    -------
    Array
        Complex, shape (...); None where the library has no eigenvalue solver, or A is known by its products alone.
    """
    try:
        values = _eigenvalues(A, E, discrete)
    except UnsupportedError:
        return None
    if values is None:
        return None
    xp, values = namespace(values), as_complex(values)
    worst = xp.argmax(growth(values, discrete=discrete, relative_to=0.0), axis=-1, keepdims=True)
    return xp.take_along_axis(values, worst, axis=-1)[..., 0]


def growth(poles: Complex[Array, "*any"], *, discrete: bool, relative_to: float = 1.0) -> Float[Array, "*any"]:
    """Return what must be negative: the real part, or the modulus less 1."""
    return namespace(poles).abs(poles) - relative_to if discrete else real(poles)


def _eigenvalues(A: Matrix, E: Matrix | None, discrete: bool) -> Array | None:
    from .backends import get_backend

    if kind_of(A) == "matrix_free":
        return None
    if isinstance(A, Sparse) and A.shape[-1] > _DENSE:
        return _ritz_values(A, E, discrete)
    if isinstance(A, Structure) and E is None:
        return A.poles()
    A, backend = to_dense(A), get_backend(arrays_of(A)[0])
    return backend.eigenvalues(A if E is None else backend.solve(*promote(to_dense(E), A)))


def _ritz_values(A: Sparse, E: Matrix | None, discrete: bool) -> Array | None:
    """Return converged Ritz values: of largest modulus in discrete time, next to 0 and rightmost in continuous time."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigs

    held = None if E is None else sparse.csc_array(getattr(E, "matrix", E))
    start = np.cos(np.arange(A.shape[-1]))  # the same one each time, and orthogonal to nothing in particular
    options: Any = {"M": held, "v0": start, "return_eigenvectors": False}
    outer = {"which": "LM" if discrete else "LR", "tol": _COARSE, "ncv": 40, "maxiter": 10}
    found = []
    for choice in (outer,) if discrete else ({"sigma": 0.0, "maxiter": 100}, outer):
        try:
            found.append(eigs(A.matrix, _RITZ, **options, **choice))
        except ArpackNoConvergence as failure:
            found.append(failure.eigenvalues)
        except (ArpackError, RuntimeError):  # the second for a singular A: SuperLU cannot invert it at 0
            continue
    values = np.concatenate(found) if found else np.zeros(0)
    return values if values.size else None
