"""The largest gain of amplitudes: the ℓ1 norm of the impulse response."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace, gramian_factors

from .._balance import singular_values_of_product
from .._descriptor import without_descriptor
from .._errors import BalanceError
from .._host import dense_matrices, on_host
from .._stability import require_stable
from ._tail import TailBound
from ._variation import Variation
from .bracket import NormBracket, over_members

if TYPE_CHECKING:
    from jaxtyping import Float

_BLOCK = 64  # steps at once
_BLOCKS = 20_000


def peak_to_peak_bracket(system: StateSpace, *, rtol: float = 1e-3) -> NormBracket:
    r"""max_i Σ_j Σ_k |h_ij(k)|, or max_i Σ_j (|D_ij| + ∫ |h_ij(t)| dt): the largest gain of amplitudes.

    Summed until the rest is small, and the rest is bounded by the Gramian of the system slowed down: with ρ between the
    largest pole and 1, Σ_{k≥K} |c Aᵏ b| ≤ ‖Z_ρᴴ Aᴷ b‖ / √(1 − ρ²). In continuous time an interval of length δ gives
    |∫ h| ≤ ∫ |h| ≤ (δ ∫ h²)^{1/2}, both of them exact; their ratio is 1 + O(δ²), and δ adapts to it. Never more than
    ‖D‖ + 2 √m Σ σ_i, which is taken if it is less than what was summed.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired; one or a batch, taken one by one. Arithmetic is dense.
    rtol
        The width that is aimed at, relative. A pole so near the border that 10⁶ steps do not see it decay makes the
        bracket wider; it is true all the same.

    Returns
    -------
    bracket
        Both ends; of a batch, NumPy arrays.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    BalanceError
        If rtol is not between 1e-9 and 1.
    ShapeError
        If the batch is empty.

    References
    ----------
    K. Glover, R. F. Curtain, J. R. Partington, SIAM J. Control Optim. 26 (1988) 863-898 (‖h‖₁ ≤ 2 Σ σ_i).
    """
    if not 1e-9 <= rtol < 1:
        msg = f"rtol must be from 1e-9 to 1; got {rtol}"
        raise BalanceError(msg)
    return over_members(system, partial(_bracket, rtol=rtol))


def _bracket(system, rtol):
    require_stable(system)
    dense = on_host(without_descriptor(system)).to_dense()
    below, above = (_discrete if dense.is_discrete else _continuous)(dense, rtol / 2)
    direct = np.abs(dense.D).sum(axis=1)
    lower, upper = float((direct + below).max()), float((direct + above).max())
    return NormBracket(lower, max(lower, min(upper, float(direct.max()) + nuclear_bound(dense))))


def nuclear_bound(system: StateSpace) -> float:
    """2 √m Σ σ_i: the ℓ1 norm of h without D is at most this."""
    sigma = singular_values_of_product(*gramian_factors(system))
    return float(2 * np.sqrt(system.inputs) * sigma.sum())


def _discrete(system: StateSpace, rtol: float) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    power, inputs, observed, _ = dense_matrices(system)
    tail, X, total = TailBound(system), inputs, np.zeros(system.outputs)
    for _ in range(int(np.log2(_BLOCK))):  # C, CA, CA², …
        observed, power = np.concatenate([observed, observed @ power]), power @ power
    for _ in range(_BLOCKS):
        rest = tail(X)
        if rest <= rtol * total.max():
            break
        values = np.abs(observed @ X).reshape(_BLOCK, system.outputs, system.inputs)
        total, X = total + values.sum(axis=(0, 2)), power @ X
    return total, total + tail(X)


def _continuous(system: StateSpace, rtol: float) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    tail, variation = TailBound(system), Variation(system)
    X, lower, upper = system.B, np.zeros(system.outputs), np.zeros(system.outputs)
    for _ in range(_BLOCKS):
        if tail(X) <= rtol * lower.max():
            break
        below, above, following = variation.advance(X)
        gap = (above - below).max()
        if gap > rtol * below.max() and variation.finer():
            continue
        lower, upper, X = lower + below, upper + above, following
        if gap <= rtol * below.max() / 8:
            variation.coarser()
    return lower, upper + tail(X)
