"""Measuring the error of one reduced system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from ._certificate import Certificate
from ._difference import difference
from ._enclosed_error import enclosed_error
from ._host import dense_matrices, on_host
from ._large_error import large_h2_error
from ._relative_error import relative_error
from ._sensitivity import rounding_level
from ._stability import unstable_pole
from .norms import GainBracket, h2_norm, hinf_bracket, linf_bracket, peak_gain
from .norms._response import FrequencyResponse

if TYPE_CHECKING:
    from jaxtyping import Complex, Float


def measure(
    full: StateSpace,
    reduced: StateSpace,
    *,
    method: str,
    error_bound: float,
    relative_error_bound: float | None,
    largest_value: float,
    rtol: float,
    dense_limit: int,
) -> Certificate:
    """‖G − G_r‖ in several norms, and the state that G_r is in.

    Parameters
    ----------
    full, reduced
        One system each.
    method, error_bound, rtol
        As in the certificate.
    relative_error_bound
        Of methods that have one; measured if G has an inverse and is small enough.
    largest_value
        σ₁, the scale of rounding.
    dense_limit
        The error system of a larger order is not formed: that of a diagonal system is enclosed through a model of at
        most so many states, any other one is measured from below.
    """
    full, reduced = on_host(full), on_host(reduced)
    relative = None
    if full.order + reduced.order > dense_limit:
        hinf, h2 = _large_errors(full, reduced, rtol, dense_limit)
    else:
        hinf, h2 = _dense_errors(full.to_dense(), reduced, rtol)
        if relative_error_bound is not None:
            relative = relative_error(full, reduced, relative_error_bound, rtol)
    poles, vectors = np.linalg.eig(dense_matrices(reduced)[0])
    return Certificate(
        method=method,
        order=reduced.order,
        full_order=full.order,
        hinf=hinf,
        h2=h2,
        error_bound=error_bound,
        rounding=rounding_level(full, reduced, float(hinf.frequency), largest_value),
        rtol=rtol,
        dc_error=float(FrequencyResponse(full, reduced).gains(np.zeros(1))[0]),
        margin=float(1 - np.abs(poles).max() if reduced.is_discrete else -poles.real.max()),
        condition=_condition(vectors),
        relative=relative,
    )


def _dense_errors(full: StateSpace, reduced: StateSpace, rtol: float) -> tuple[GainBracket, float]:
    error = difference(full, reduced)
    if unstable_pole(error) is not None:
        return linf_bracket(error, rtol=rtol), np.inf
    return hinf_bracket(error, rtol=rtol), float(h2_norm(error))


def _large_errors(full: StateSpace, reduced: StateSpace, rtol: float, dense_limit: int) -> tuple[GainBracket, float]:
    hinf = enclosed_error(full, reduced, rtol, dense_limit)
    if hinf is None:
        gain, frequency = peak_gain(full, minus=reduced)
        hinf = GainBracket(gain, np.inf, frequency)
    return hinf, large_h2_error(full, reduced)


def _condition(vectors: Complex[np.ndarray, "r r"]) -> float:
    sigma: Float[np.ndarray, " r"] = np.linalg.svd(vectors, compute_uv=False)
    return float(sigma[0] / sigma[-1]) if sigma[-1] > 0 else np.inf
