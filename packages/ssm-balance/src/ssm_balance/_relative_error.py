"""The error of a reduced system relative to the full one."""

from __future__ import annotations

import numpy as np

from ssm_gramians import InstabilityError, StateSpace

from ._certificate import RelativeError
from ._descriptor import without_descriptor
from ._host import dense_matrices
from ._sensitivity import rounding_level
from .norms import linf_bracket


def relative_error(full: StateSpace, reduced: StateSpace, bound: float, rtol: float) -> RelativeError | None:
    """‖I − G⁻¹ G_r‖_∞, as one system of order n + r; None where G has no proper inverse.

    Parameters
    ----------
    full, reduced
        One system each, in NumPy arrays.
    bound
        What the method promises.
    rtol
        The relative width of the bracket.
    """
    ratio = _one_minus_quotient(without_descriptor(full), reduced)
    if ratio is None:
        return None
    try:
        bracket = linf_bracket(ratio, rtol=rtol)
    except InstabilityError:  # a zero of G on the border: no relative error is finite
        return None
    frequency = float(bracket.frequency)
    point = np.exp(1j * frequency * full.dt) if full.is_discrete else 1j * frequency
    response = full.D if np.isinf(frequency) else full.transfer_function(np.array([point]))[0]
    smallest = np.linalg.svd(response, compute_uv=False)[-1]
    rounding = rounding_level(full, reduced, frequency, 0.0) / smallest + full.order * np.finfo(float).eps
    return RelativeError(bracket, bound, float(rounding))


def _one_minus_quotient(full: StateSpace, reduced: StateSpace) -> StateSpace | None:
    (A, B, C, D), (A_r, B_r, C_r, D_r) = dense_matrices(full), dense_matrices(reduced)
    if D.shape[0] != D.shape[1]:
        return None
    sigma = np.linalg.svd(D, compute_uv=False)
    if sigma[-1] <= np.finfo(float).eps * D.shape[0] * sigma[0]:
        return None
    inverse = np.linalg.inv(D)
    B_i = B @ inverse  # of G⁻¹: A − B D⁻¹ C, B D⁻¹, −D⁻¹ C, D⁻¹
    joint = np.block([[A_r, np.zeros((A_r.shape[0], A.shape[0]))], [B_i @ C_r, A - B_i @ C]])
    output = np.concatenate([-inverse @ C_r, inverse @ C], axis=1)
    direct = np.eye(D.shape[0]) - inverse @ D_r
    return StateSpace(joint, np.concatenate([B_r, B_i @ D_r]), output, direct, full.dt)
