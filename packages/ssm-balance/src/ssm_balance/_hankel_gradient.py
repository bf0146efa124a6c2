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

    With a descriptor matrix σ are the singular values of Z_Qᴴ E Z_P, Eᴴ W and E V stand for W and V, and
    σ_i w_iᴴ dE v_i is added.

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
    E = None if system.E is None else backend.constant(_dense(system.E))
    left, right = _balancing_pair(Z_P, Z_Q, E)
    P, Q = controllability_gramian(system, backend=backend), observability_gramian(system, backend=backend)
    W, V = (left, right) if E is None else (product(adjoint(E), left), product(E, right))
    twin = _one_per_state((_form(W, P, W) + _form(V, Q, V)) / 2, hsv.shape[-1])
    if system.E is not None:
        twin = twin + hsv * _one_per_state(_form(left, _dense(system.E), right), hsv.shape[-1])
    return backend.with_gradient(hsv, twin)


def _balancing_pair(Z_P: Array, Z_Q: Array, E: Array | None) -> tuple[Array, Array]:
    """Return Z_Q U Σ^{-1/2} and Z_P V Σ^{-1/2}, with zero columns where σ is at the rounding of the largest."""
    xp = array_namespace(Z_P, Z_Q)
    U, sigma, Vh = xp.linalg.svd(product(adjoint(Z_Q), Z_P if E is None else product(E, Z_P)), full_matrices=False)
    floor = max(*Z_P.shape[-2:], Z_Q.shape[-1]) * xp.finfo(sigma.dtype).eps * sigma[..., :1]
    above = sigma > floor
    weight = xp.where(above, 1 / xp.sqrt(xp.where(above, sigma, xp.ones_like(sigma))), xp.zeros_like(sigma))
    return product(Z_Q, U) * weight[..., None, :], product(Z_P, adjoint(Vh)) * weight[..., None, :]


def _dense(M: Array) -> Array:
    return M.to_dense() if isinstance(M, Structure) else M


def _mapped(M: Array, function: Callable[[Array], Array]) -> Array:
    return M.map(function) if isinstance(M, Structure) else function(M)


def _form(W: Array, P: Array, V: Array) -> Array:
    """Return Re w_iᴴ P v_i."""
    xp = array_namespace(W, P)
    values = xp.sum(adjoint(W).mT * product(P, V), axis=-2)
    return xp.real(values) if is_complex(values) else values
