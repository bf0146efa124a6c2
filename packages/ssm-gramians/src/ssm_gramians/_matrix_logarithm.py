r"""$\log(I + X)$ by products and solves alone, so that every backend has it, batched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._arrays import Array, identity, namespace
from ._errors import ConvergenceError, SingularEquationError

if TYPE_CHECKING:
    from jaxtyping import Complex

    from .backends import Backend

_SMALL = 0.25  # up to this norm the [7/7] Padé approximant is exact to 1e-16 (Higham 2008, table 11.1: 0.264)
_ROOTS = 60  # square roots at most; each brings the eigenvalues about twice as near to 1
_STEPS = 60  # of one square root; about 10 are usual
_ON_CUT = "a matrix logarithm does not exist, or nearly so: an eigenvalue is zero or negative"


def log_one_plus(X: Complex[Array, "*batch n n"], backend: Backend) -> Complex[Array, "*batch n n"]:
    r"""Return the principal $\log(I + X)$; relative to X it keeps its digits where X is small.

    Inverse scaling and squaring: $I + X = (I + Y)^2$ with $Y = X (I + (I + X)^{1/2})^{-1}$, where nothing cancels,
    until Y is small; then $\log(I + Y) = \sum_k w_k Y (I + x_k Y)^{-1}$, its Padé approximant by a Gauss rule.

    Parameters
    ----------
    X
        Shape (..., n, n), complex; no eigenvalue in $(-\infty, -1]$.
    backend
        For the solves.

    Raises
    ------
    ConvergenceError
        If an eigenvalue of $I + X$ is zero or negative, or so nearly that the square roots do not converge.

    References
    ----------
    S. H. Cheng, N. J. Higham, C. S. Kenney, A. J. Laub, SIAM J. Matrix Anal. Appl. 22 (2001) 1112-1125. N. J. Higham,
    Functions of Matrices, SIAM, 2008, chapter 11; L. Dieci, B. Morini, A. Papini, SIAM J. Matrix Anal. Appl. 17 (1996)
    570-593, for the Gauss rule.
    """
    xp = namespace(X)
    eye = identity(X.shape[-1], like=X) + xp.zeros_like(X)
    roots = 0
    while 0 not in X.shape and _size(X, backend) > _SMALL:
        if roots == _ROOTS:
            raise ConvergenceError(_ON_CUT)
        X, roots = _over(X, eye + _square_root(eye + X, eye, backend), backend), roots + 1
    nodes, weights = np.polynomial.legendre.leggauss(7)
    terms = (float(w) / 2 * backend.solve(eye + float(1 + x) / 2 * X, X) for x, w in zip(nodes, weights, strict=True))
    return 2.0**roots * sum(terms, start=xp.zeros_like(X))


def _square_root(M: Array, eye: Array, backend: Backend) -> Array:
    """Return the principal square root, by the scaled product form of the Denman-Beavers iteration."""
    xp = namespace(M)
    root, product = M, M
    change = float("inf")
    for _ in range(_STEPS):
        try:
            inverse = backend.solve(product, eye)
        except SingularEquationError:
            break
        scale = xp.sqrt(backend.norm(inverse) / backend.norm(product))  # 1 at convergence
        scale = xp.where(xp.abs(scale - 1) < 1e-2, xp.ones_like(scale), scale)[..., None, None]
        mu = xp.astype(xp.sqrt(scale), M.dtype)
        root = (mu * root + root @ inverse / mu) / 2
        product = eye / 2 + (mu * mu * product + inverse / (mu * mu)) / 4
        last, change = change, _size(product - eye, backend)
        if change <= 1e-2 and change >= last / 2:  # converges quadratically, then stagnates at rounding
            return root
    raise ConvergenceError(_ON_CUT)


def _size(X: Array, backend: Backend) -> float:
    """Return the largest norm of a batch."""
    return float(namespace(X).max(backend.norm(backend.constant(X))))


def _over(X: Array, M: Array, backend: Backend) -> Array:
    """Return X M^-1, for matrices that commute."""
    return backend.solve(M, X)
