"""How much energy a system can add within so many steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft, ifft, next_fast_len
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ssm_gramians import NonFiniteError, StateSpace, UnsupportedError

from .._descriptor import without_descriptor
from .._errors import BalanceError
from .._host import dense_matrices, on_host
from .._multiple import whole_number
from .._stability import require_finite
from .bracket import NormBracket, over_members

if TYPE_CHECKING:
    from jaxtyping import Inexact

_VECTORS = 128  # Lanczos steps; the top of a Toeplitz spectrum is crowded, and the upper end tells what was missed
_EVERY = 8


def horizon_gain(system: StateSpace, steps: int, *, rtol: float = 1e-6) -> NormBracket:
    r"""‖T_L‖₂, T_L the block Toeplitz map from L inputs to L outputs, from rest: what a layer can do to a sequence.

    From below by Lanczos bidiagonalisation, T and Tᴴ applied by fast convolution with the impulse response. From above
    first by the circulant of twice the length, which contains T_L, at the cost of a Fourier transform; where that is
    not tight, γ bounds the norm if the Riccati recursion of the bounded real lemma keeps γ² I − Dᴴ D − Bᴴ P_k B
    positive for L steps. Grows with L up to ‖G‖_∞ if the system is stable, which it need not be.

    Parameters
    ----------
    system
        Discrete; dense, diagonal or paired; one or a batch, taken one by one.
    steps
        L, at least 1.
    rtol
        The width that is aimed at, relative; what comes back may be wider and is true all the same.

    Returns
    -------
    bracket
        Both ends; of a batch, NumPy arrays.

    Raises
    ------
    UnsupportedError
        In continuous time.
    NonFiniteError
        If a matrix holds NaN or infinity, or the response overflows.
    BalanceError
        If rtol is not between 16 eps and 1, or there are no steps.
    ShapeError
        If the batch is empty.

    References
    ----------
    G. H. Golub, W. Kahan, SIAM J. Numer. Anal. 2 (1965) 205-224.
    M. Green, D. J. N. Limebeer, Linear Robust Control (1995), appendix B (discrete time).
    """
    return over_members(system, partial(_bracket, steps=whole_number("steps", steps), rtol=rtol))


def _bracket(system, steps, rtol):
    _check(system, rtol)
    host = on_host(without_descriptor(system))
    with np.errstate(over="ignore", invalid="ignore"):
        response = host.impulse_response(steps)  # (L, p, m)
    if not np.all(np.isfinite(response)):
        msg = f"the impulse response overflows within {steps} steps; want fewer of so unstable a system"
        raise NonFiniteError(msg)
    toeplitz = _Toeplitz(response)
    lower = toeplitz.largest_singular_value(rtol / 4)
    return NormBracket(lower, max(lower, _from_above(host, steps, lower, toeplitz.circulant_norm, rtol)))


class _Toeplitz:
    """Y_k = Σ_{j≤k} h_{k−j} U_j, as a corner of a circulant matrix."""

    def __init__(self, response: Inexact[np.ndarray, "length p m"]):
        self._length, _, self._inputs = response.shape
        self._size = next_fast_len(2 * self._length)
        self._complex = np.iscomplexobj(response)
        self._symbol = fft(response, self._size, axis=0)
        self._adjoint_symbol = self._symbol.conj().transpose(0, 2, 1)

    @property
    def circulant_norm(self) -> float:
        return float(np.linalg.norm(self._symbol, 2, axis=(-2, -1)).max())

    def largest_singular_value(self, rtol: float) -> float:
        """Return ‖T v‖ for the unit vector v that Lanczos bidiagonalisation finds, orthogonalising fully."""
        rng, shape = np.random.default_rng(0), (self._length, self._inputs)
        v = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if self._complex else 0)
        right, left = [v / np.linalg.norm(v)], []  # type: ignore[var-annotated]
        alphas, betas, value = [], [], 0.0
        for k in range(min(_VECTORS, v.size)):
            u = _orthogonal(self._times(self._symbol, right[-1]), left)
            alphas.append(np.linalg.norm(u))
            if alphas[-1] == 0:
                break
            left.append(u / alphas[-1])
            v = _orthogonal(self._times(self._adjoint_symbol, left[-1]), right)
            betas.append(np.linalg.norm(v))
            done = k % _EVERY == _EVERY - 1 or k == v.size - 1 or betas[-1] <= rtol * max(alphas)
            if done:
                previous, value = value, float(np.linalg.norm(_bidiagonal(alphas, betas), 2))
                if value - previous <= rtol * value or betas[-1] <= rtol * value:
                    break
            right.append(v / betas[-1])
        return self._attained(right, alphas, betas)

    def _attained(self, right, alphas, betas):
        weights = np.linalg.svd(_bidiagonal(alphas, betas))[2][0].conj()
        v = np.tensordot(weights, np.array(right[: weights.size]), 1)
        return float(np.linalg.norm(self._times(self._symbol, v)) / np.linalg.norm(v))

    def _times(self, symbol, signal):
        product = ifft((symbol @ fft(signal, self._size, axis=0)[:, :, None])[..., 0], axis=0)[: self._length]
        return product if self._complex else product.real


def _orthogonal(vector, basis):
    for _ in range(2):
        for other in basis:
            vector = vector - np.vdot(other, vector) * other
    return vector


def _bidiagonal(alphas, betas):
    return np.diag(alphas) + np.diag(betas[: len(alphas) - 1], 1)


def _from_above(system, steps, lower, circulant, rtol):
    margin = rtol
    while (1 + margin) * lower < circulant:
        if _riccati_stays(system, steps, (1 + margin) * lower):
            return (1 + margin) * lower
        margin *= 4
    return circulant


def _riccati_stays(system: StateSpace, steps: int, level: float) -> bool:
    """Say whether γ² I − Dᴴ D − Bᴴ P_k B > 0 for k < steps, P_{k+1} = Aᴴ P_k A + Cᴴ C + K_kᴴ (…)⁻¹ K_k from P_0 = 0."""
    A, B, C, D = dense_matrices(system)
    C, D = C / level, D / level
    outputs, mixed = C.conj().T @ C, D.conj().T @ C
    bound = np.eye(D.shape[1]) - D.conj().T @ D
    P = np.zeros_like(outputs)
    for _ in range(steps):
        try:
            factor = cho_factor(bound - B.conj().T @ P @ B)
        except LinAlgError:
            return False
        K = B.conj().T @ P @ A + mixed
        following = A.conj().T @ P @ A + outputs + K.conj().T @ cho_solve(factor, K)
        following = (following + following.conj().T) / 2
        if np.linalg.norm(following - P) <= np.finfo(float).eps * np.linalg.norm(P):
            return True
        P = following
    return True


def _check(system, rtol):
    if not 16 * np.finfo(float).eps <= rtol < 1:
        msg = f"rtol must be from 16 eps = 3.6e-15 to 1; got {rtol}"
        raise BalanceError(msg)
    require_finite(system)
    if not system.is_discrete:
        msg = "horizon_gain counts steps, and dt is 0; want a system with dt > 0: discretise it first"
        raise UnsupportedError(msg)
