"""The gradient of Hankel singular values, from their singular vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from ssm_gramians import StateSpace, Structure, controllability_gramian, observability_gramian

from ._arrays import adjoint, in_double, is_complex, product
from ._balance import _one_per_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    from ssm_gramians import Backend

    from ._arrays import Array


def wants_gradient(system: StateSpace, backend: Backend) -> bool:
    """Say whether what is computed from the system is to be differentiated."""
    parts = (system.A, system.B, system.C, system.E)
    arrays = [part.arrays if isinstance(part, Structure) else (part,) for part in parts if part is not None]
    return backend.wants_gradient(*(array for group in arrays for array in group))


def changed(system: StateSpace, function: Callable[[Array], Array]) -> StateSpace:
    """Return the system with each array replaced by `function(array)`."""
    fields = {name: getattr(system, name) for name in ("A", "B", "C", "D", "E")}
    return replace(system, **{name: _mapped(M, function) for name, M in fields.items() if M is not None})


def with_gradient(
    hsv: Float[Array, "*batch n"],
    Z_P: Inexact[Array, "*batch n k"],
    Z_Q: Inexact[Array, "*batch n l"],
    system: StateSpace,
    backend: Backend,
) -> Float[Array, "*batch n"]:
    r"""dσ_i = ½ (w_iᴴ dP w_i + v_iᴴ dQ v_i), W = Z_Q U Σ^{-1/2} and V = Z_P V Σ^{-1/2} held fixed.

    P and Q are differentiable solutions of their equations, so the derivative is one adjoint solve for each. The values
    come from the factors, with all their digits; the derivatives have an absolute error of eps ‖w_i‖² ‖dP‖. Values at
    the rounding of σ₁ have no derivative that arithmetic could find and get zero. Of equal values only the sum has one.
    A second derivative is refused.

    Parameters
    ----------
    hsv
        The values, without a gradient.
    Z_P, Z_Q
        Factors of the Gramians, without a gradient.
    system
        What the values are to depend on.
    backend
        Computes on its arrays, and has gradients.
    """
    system = changed(system, in_double)
    W, V = _balancing_pair(Z_P, Z_Q)
    P, Q = controllability_gramian(system, backend=backend), observability_gramian(system, backend=backend)
    twin = (_form(W, P) + _form(V, Q)) / 2
    return backend.with_gradient(hsv, _one_per_state(twin, hsv.shape[-1]))


def _balancing_pair(Z_P: Array, Z_Q: Array) -> tuple[Array, Array]:
    """Return W and V, with zero columns where σ is at the rounding of the largest."""
    xp = array_namespace(Z_P, Z_Q)
    U, sigma, Vh = xp.linalg.svd(product(adjoint(Z_Q), Z_P), full_matrices=False)
    floor = max(*Z_P.shape[-2:], Z_Q.shape[-1]) * xp.finfo(sigma.dtype).eps * sigma[..., :1]
    above = sigma > floor
    weight = xp.where(above, 1 / xp.sqrt(xp.where(above, sigma, xp.ones_like(sigma))), xp.zeros_like(sigma))
    return product(Z_Q, U) * weight[..., None, :], product(Z_P, adjoint(Vh)) * weight[..., None, :]


def _mapped(M: Array, function: Callable[[Array], Array]) -> Array:
    return M.map(function) if isinstance(M, Structure) else function(M)


def _form(W: Array, P: Array) -> Array:
    """Return w_iᴴ P w_i, which is real."""
    xp = array_namespace(W, P)
    values = xp.sum(adjoint(W).mT * product(P, W), axis=-2)
    return xp.real(values) if is_complex(values) else values
