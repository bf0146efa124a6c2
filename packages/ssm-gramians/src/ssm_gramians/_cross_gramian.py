"""The cross Gramian: both Gramians of a square system in one matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, conj, identity, imag, namespace, promote, real
from ._diagonal import Diagonal
from ._equations import Sylvester
from ._errors import ShapeError
from ._solve import solve
from ._stability import check_stability
from ._structure import to_dense
from ._untraced import untraced
from .backends import Backend, get_backend
from .solvers import Solver

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from ._system import StateSpace


@untraced
def cross_gramian(
    system: StateSpace, *, solver: Solver | None = None, backend: str | Backend | None = None
) -> Inexact[Array, "*batch order order"]:
    r"""Return X with $A X + X A + B C = 0$, or $A X A - X + B C = 0$ in discrete time.

    $X = \int_0^\infty e^{At} B C e^{At}\,dt$, or $\sum_k A^k B C A^k$. For a real system with one input and one output,
    or with a symmetric transfer function, $X^2 = P Q$: the Hankel singular values are the moduli of the eigenvalues of
    X. For other square systems, and for complex ones, that does not hold. With a descriptor matrix the equations are
    $A X E + E X A + B C = 0$ and $A X A - E X E + B C = 0$, and the eigenvalues are those of $X E$.

    Parameters
    ----------
    system
        Stable and square. Paired systems give the real matrix of order 2n.
    solver
        An algorithm for the Sylvester equation; None for the closed form of a diagonal A, and `Auto()` otherwise.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        X, shape (..., order, order): in general not Hermitian.

    Raises
    ------
    ShapeError
        If the numbers of inputs and outputs differ.
    InstabilityError
        If a mode does not decay.

    References
    ----------
    K. V. Fernando, H. Nicholson, IEEE Trans. Automat. Control 28 (1983) 228-231, and 30 (1985) for MIMO systems.
    """
    if system.inputs != system.outputs:
        msg = (
            f"got {system.inputs} inputs and {system.outputs} outputs; want as many of each: a cross Gramian needs B C"
        )
        raise ShapeError(msg)
    check_stability(system)
    if isinstance(system.A, Diagonal) and solver is None:
        return _of_modes(system, get_backend(system.B if backend is None else backend))
    return solve(_equation(system.to_dense()), solver, backend).unwrap()


def _equation(dense: StateSpace) -> Sylvester:
    A, B, C = promote(dense.A, dense.B, dense.C)
    E = None if dense.E is None else to_dense(dense.E)
    if not dense.is_discrete:
        return Sylvester(A, A, B @ C, E=E, F=E)
    held = identity(A.shape[-1], like=A) + namespace(A).zeros_like(A) if E is None else E
    return Sylvester(A, held, B @ C, E=-held, F=A)


def _of_modes(system: StateSpace, backend: Backend) -> Array:
    r"""Return $-(BC)_{ij}/(\lambda_i + \lambda_j)$, or $(BC)_{ij}/(1 - \lambda_i\lambda_j)$; real if paired."""
    assert isinstance(system.A, Diagonal)
    quotient = backend.stein_quotient if system.is_discrete else backend.lyapunov_quotient
    slots, B, C = promote(system.A.eigenvalues, system.B, system.C)
    X = quotient(B @ C, slots, conj(slots))
    if not system.A.paired:
        return X
    Y = quotient(B @ conj(C), slots, slots)  # between the modes and the conjugates
    xp = namespace(X)
    top = xp.concat((real(X + Y), imag(Y - X)), axis=-1)
    bottom = xp.concat((imag(X + Y), real(X - Y)), axis=-1)
    return xp.concat((top, bottom), axis=-2)
