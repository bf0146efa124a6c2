r"""Gramians of a frequency band: $P_\Omega = \frac{1}{2\pi}\int_\Omega R(\omega) B B^H R(\omega)^H\,d\omega$.

R is $(i\omega I - A)^{-1}$, or $(e^{i\omega\,dt} I - A)^{-1}$ with $dt\,d\omega$ in discrete time; $\Omega$ has both
signs of each frequency. It solves the equation of P with $S B B^H + B B^H S^H$ for $B B^H$.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, as_complex, identity, imag, is_complex, namespace, promote, real
from ._band import Band, Bands, bands_of
from ._band_weights import band_weighting, touches_an_end
from ._diagonal import Diagonal, stack_real
from ._equations import Lyapunov, Stein
from ._errors import ConvergenceError, InstabilityError, SingularEquationError
from ._matrix_logarithm import log_one_plus
from ._solve import solve
from ._structure import to_dense
from .backends import Backend, get_backend
from .solvers import Solver
from .solvers.closed_form import weigh_modes

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from ._system import StateSpace

_ON_BAND = "a pole lies on the band, or next to it: the integral does not exist; want a band without it, or damping"


def band_gramian(
    system: StateSpace, band: Bands, *, solver: Solver | None = None, backend: str | Backend | None = None
) -> Inexact[Array, "*batch order order"]:
    r"""Return $\frac{1}{2\pi}\int_\Omega R(\omega) B B^H R(\omega)^H\,d\omega$: the part of P that a band contributes.

    Entry by entry in closed form for a diagonal A, to full relative accuracy; otherwise by a matrix logarithm and one
    equation. The Gramians of bands that make up all frequencies add up to P. It needs no stability, only that no pole
    lies on the band. For the observability Gramian take the dual system.

    Parameters
    ----------
    system
        Any; a sparse one is written out as dense.
    band
        A pair $(\omega_1, \omega_2)$ in rad/s, $0 \le \omega_1 < \omega_2$, or several that do not overlap; up to
        infinity, or $\pi/dt$ in discrete time.
    solver
        The algorithm for the equation; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        P, Hermitian and positive semidefinite: eigenvalues that rounding made negative are set to zero.

    Raises
    ------
    InstabilityError
        If a pole lies on the band.
    ConvergenceError
        If rounding leaves less than half of the digits of P.

    References
    ----------
    W. Gawronski, J.-N. Juang, Int. J. Systems Sci. 21 (1990) 349-376.
    """
    chosen = get_backend(system.B if backend is None else backend)
    if isinstance(system.A, Diagonal):
        return _of_modes(system, bands_of(band, system.dt))
    A, B = _plain(system, chosen)
    size = 1.0 if 0 in A.shape else float(namespace(A).max(chosen.norm(chosen.constant(A))))
    try:
        Q = band_right_side(A, B, bands_of(band, system.dt, size), chosen)
    except (ConvergenceError, SingularEquationError) as error:
        raise InstabilityError(_ON_BAND) from error
    kind = Stein if system.is_discrete else Lyapunov
    return nearest_semidefinite(solve(kind(A, Q), solver, backend).unwrap(), chosen)


def _of_modes(system: StateSpace, bands: tuple[Band, ...]) -> Array:
    assert isinstance(system.A, Diagonal)
    if touches_an_end(system.A.poles(), bands):
        raise InstabilityError(_ON_BAND)
    B = stack_real(system.B) if system.A.paired else system.B
    P = weigh_modes(system.A, B @ adjoint(B), band_weighting(bands, discrete=system.is_discrete))
    if not bool(namespace(P).all(namespace(P).isfinite(P))):
        raise InstabilityError(_ON_BAND)
    return (P + adjoint(P)) / 2


def band_right_side(
    A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n m"], bands: tuple[Band, ...], backend: Backend
) -> Inexact[Array, "*batch n n"]:
    r"""Return $S B B^H + B B^H S^H$ with $S = \frac{-i}{2\pi} \sum \log(N_2 N_1^{-1})$ over the bands and mirrors.

    One logarithm of the quotient, not the difference of two: narrow bands keep their digits.
    """
    SB = _logarithms(A, bands, backend) @ as_complex(B)
    SB = SB if is_complex(A) else real(SB)
    SB, B = promote(SB, B)
    half = SB @ adjoint(B)
    return half + adjoint(half)


def _logarithms(A: Array, bands: tuple[Band, ...], backend: Backend) -> Array:
    """Return S, complex; for a real A its imaginary part is rounding, and the mirrored bands come for free."""
    xp = namespace(A)
    M = as_complex(A)
    eye = identity(M.shape[-1], like=M) + xp.zeros_like(M)
    total = xp.zeros_like(M)
    for band in bands:
        for part in (band, band.mirrored()) if is_complex(A) else (band,):
            (u, v), (du, dv) = part.first, part.step
            total = total + log_one_plus(backend.solve(u * eye - v * M, du * eye - dv * M), backend)
    if is_complex(A):
        return -1j / (2 * math.pi) * total
    return as_complex(imag(total)) / math.pi


def nearest_semidefinite(P: Inexact[Array, "*batch n n"], backend: Backend) -> Inexact[Array, "*batch n n"]:
    """Return the Hermitian P with the eigenvalues that rounding made negative set to zero.

    Raises
    ------
    ConvergenceError
        If a negative eigenvalue is more than rounding: above the square root of eps, relative to the largest one.
    """
    xp = namespace(P)
    P = (P + adjoint(P)) / 2
    values, vectors = xp.linalg.eigh(backend.constant(P))
    if 0 in P.shape or bool(xp.all(values >= 0)):
        return P
    worst = float(xp.min(values[..., 0] / xp.max(xp.abs(values), axis=-1)))
    if not worst > -(backend.eps(P) ** 0.5):
        msg = (
            f"an eigenvalue of the Gramian is negative, {worst:.1e} of the largest; want a wider band or more precision"
        )
        raise ConvergenceError(msg)
    root = vectors * xp.astype(xp.sqrt(xp.clip(values, 0.0)), P.dtype)[..., None, :]
    return backend.with_gradient(root @ adjoint(root), P)


def _plain(system: StateSpace, backend: Backend) -> tuple[Array, Array]:
    """Return A and B, dense, divided by E."""
    dense = system.to_dense()
    if dense.E is None:
        return dense.A, dense.B
    return tuple(backend.solve(*promote(to_dense(dense.E), M)) for M in (dense.A, dense.B))
