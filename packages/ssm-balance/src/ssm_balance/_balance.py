"""Two factors in, one projection out: the square-root method, on arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from array_api_compat import array_namespace

from ssm_gramians import NonFiniteError

from ._arrays import adjoint, in_double, product
from ._descriptor import descriptor_times
from ._errors import BalanceError, OrderError
from ._lapack import shared_product
from ._order import as_selection
from ._symmetric import symmetric_triplets

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    from ._arrays import Array, Matrix
    from ._order import Selection


@dataclass(frozen=True)
class Projection:
    """leftᴴ right = I: the oblique projection x ≈ right (leftᴴ x) onto the states that matter most.

    Parameters
    ----------
    left, right
        W and V, shape (..., n, r).
    hsv
        All Hankel singular values, descending, shape (..., n), float64.
    """

    left: Inexact[Array, "*batch n r"]
    right: Inexact[Array, "*batch n r"]
    hsv: Float[Array, "*batch n"]

    @property
    def order(self) -> int:
        """r, the number of states kept."""
        return self.left.shape[-1]


def balance(
    Z_P: Inexact[Array, "*batch n k"],
    Z_Q: Inexact[Array, "*batch n l"],
    selection: int | Selection,
    *,
    driver: Literal["svd", "eigh"] = "svd",
    balancing_free: bool = False,
    E: Matrix | None = None,
    threads: int = 1,
) -> Projection:
    r"""Z_Qᴴ E Z_P = U Σ Vᴴ gives left = Z_Q U_r Σ_r^{-1/2} and right = Z_P V_r Σ_r^{-1/2}, leftᴴ E right = I.

    P = Z_P Z_Pᴴ and Q = Z_Q Z_Qᴴ may come from an equation, from state and adjoint snapshots, or one from each.
    In the new coordinates both are Σ_r. Nothing is squared or inverted but the σ that are kept.

    Only values above eps · max(n, k, l) · σ₁, the rounding of the product, can be kept: a larger order is lowered
    to the number of those, so `Projection.order` may be less than was asked. What is lost is of the size of rounding.

    Parameters
    ----------
    Z_P, Z_Q
        Factors of the controllability and the observability Gramian. Arithmetic is in double precision, whatever comes.
    selection
        The order, or the rule that finds it from the values.
    driver
        "svd" takes the singular value decomposition of Z_Qᴴ Z_P; where that is a real NumPy array and symmetric to
        rounding, as `gramian_factors` makes it for diagonal systems with one input and one output, the moduli of its
        eigenvalues, which are as right and half the work. "eigh" takes V from the eigenvectors of its square and the σ
        that are kept from the lengths of Z_Qᴴ Z_P V, which is more than twice as fast as the singular value
        decomposition. Of the σ that are not kept those below √eps σ₁ are only known to be that small. It gives way to
        "svd" where a value below 100 √eps σ₁ is to be kept.
    balancing_free
        Return well-conditioned bases of the same two subspaces instead: orthonormal right, left with leftᴴ E right = I.
        The reduced system is the same one in other coordinates, which are not balanced, and keeps the digits that
        scaling by Σ^{-1/2} loses when the system is far from balanced (Varga 1991).
    E
        Of a descriptor system; the identity if None.
    threads
        How many members of a batch of NumPy arrays are multiplied at a time, and decomposed where Z_Qᴴ E Z_P is real
        and symmetric; other arrays take the threads that their library has.

    Returns
    -------
    projection
        Of the same array kind as the factors.

    Raises
    ------
    OrderError
        If the rule asks for an order outside 1 … n; if every value is zero; if the members of a batch have not all
        as many values above rounding as their common order needs.
    NonFiniteError
        If a factor holds NaN or infinity.
    BalanceError
        If there is no such driver, or no thread.

    References
    ----------
    M. S. Tombs, I. Postlethwaite, Int. J. Control 46 (1987) 1319-1330.
    A. J. Laub, M. T. Heath, C. C. Paige, R. C. Ward, IEEE Trans. Automat. Control 32 (1987) 115-122.
    A. Varga, CDC (1991) 1062-1065 (balancing-free).
    """
    xp = array_namespace(Z_P, Z_Q)
    rule = as_selection(selection)
    Z_P, Z_Q = _checked(Z_P), _checked(Z_Q)
    if driver not in ("svd", "eigh"):
        msg = f"driver is {driver!r}; want 'svd' or 'eigh'"
        raise BalanceError(msg)
    if threads < 1:
        msg = f"threads is {threads}; want at least 1"
        raise BalanceError(msg)
    M = shared_product(adjoint(Z_Q), descriptor_times(E, Z_P), threads)
    if driver == "eigh":
        found = _by_eigh(M, Z_P, Z_Q, rule, E)
        if found is not None:
            return _orthonormal(found, E) if balancing_free else found
    sigma, triplets = _decomposed(M, threads)
    hsv = _one_per_state(sigma, Z_P.shape[-2])
    order = _attainable(rule.select(hsv), sigma, max(*Z_P.shape[-2:], Z_Q.shape[-1]))
    U, kept, V = triplets(order)
    weight = 1 / xp.sqrt(kept[..., None, :])  # (..., 1, r)
    left, right = shared_product(Z_Q, U * weight, threads), shared_product(Z_P, V * weight, threads)
    found = Projection(left, right, hsv)
    return _orthonormal(found, E) if balancing_free else found


def _decomposed(M: Array, threads: int) -> tuple[Array, Callable[[int], tuple[Array, Array, Array]]]:
    """All σ of M, and what gives U, σ, V of the largest."""
    found = symmetric_triplets(M, threads)
    if found is not None:
        return found
    xp = array_namespace(M)
    U, sigma, Vh = xp.linalg.svd(M, full_matrices=False)
    return sigma, lambda order: (U[..., :order], sigma[..., :order], adjoint(Vh[..., :order, :]))


def _orthonormal(projection: Projection, E: Matrix | None) -> Projection:
    """Span the same subspaces: right orthonormal, left biorthogonal to E right."""
    xp = array_namespace(projection.left)
    left, right = (xp.linalg.qr(basis)[0] for basis in (projection.left, projection.right))
    gram = product(adjoint(left), descriptor_times(E, right))  # (..., r, r), regular as the kept σ are
    return Projection(adjoint(xp.linalg.solve(gram, adjoint(left))), right, projection.hsv)


def _by_eigh(M: Array, Z_P: Array, Z_Q: Array, rule: Selection, E: Matrix | None) -> Projection | None:
    """Take V from the eigenvectors of MᴴM, the σ that are kept from the lengths of M V; None if these are too small."""
    xp = array_namespace(M)
    values, vectors = xp.linalg.eigh(product(adjoint(M), M))
    sigma = xp.flip(xp.sqrt(xp.clip(values, 0.0)), axis=-1)
    hsv = _one_per_state(sigma, Z_P.shape[-2])
    order = rule.select(hsv)
    if order > sigma.shape[-1]:
        return None
    V = xp.flip(vectors, axis=-1)[..., :order]
    MV = product(M, V)
    kept = xp.linalg.vector_norm(MV, axis=-2)[..., None, :]  # (..., 1, r)
    if bool(xp.any(kept <= 100 * xp.finfo(kept.dtype).eps ** 0.5 * kept[..., :1])):
        return None
    left, right = product(Z_Q, MV) / kept**1.5, product(Z_P, V) / xp.sqrt(kept)
    gram = product(adjoint(left), descriptor_times(E, right))
    left = adjoint(xp.linalg.solve(gram, adjoint(left)))  # left M V: orthogonal to √eps only
    hsv = xp.concat([kept[..., 0, :], hsv[..., order:]], axis=-1)
    return Projection(left, right, xp.sort(hsv, axis=-1, descending=True))


def singular_values_of_product(Z_P, Z_Q, E=None):
    """σ(Z_Qᴴ E Z_P), one per state, without the vectors."""
    xp = array_namespace(Z_P, Z_Q)
    Z_P, Z_Q = _checked(Z_P), _checked(Z_Q)
    return _one_per_state(xp.linalg.svdvals(product(adjoint(Z_Q), descriptor_times(E, Z_P))), Z_P.shape[-2])


def _checked(Z):
    xp = array_namespace(Z)
    if not bool(xp.all(xp.isfinite(Z))):
        msg = f"a Gramian factor of shape {tuple(Z.shape)} holds NaN or infinity; check the matrices it was made from"
        raise NonFiniteError(msg)
    return in_double(Z)


def _one_per_state(sigma, states):
    """Fill with zeros what a thin factor leaves out; drop the zeros that a wide one adds."""
    xp = array_namespace(sigma)
    missing = max(states - sigma.shape[-1], 0)
    zeros = xp.zeros((*sigma.shape[:-1], missing), dtype=sigma.dtype, device=sigma.device)
    return xp.concat([sigma[..., :states], zeros], axis=-1)


def _attainable(order, sigma, size):
    xp = array_namespace(sigma)
    floor = xp.finfo(sigma.dtype).eps * size * sigma[..., :1]
    ranks = xp.sum(xp.astype(sigma > floor, xp.int64), axis=-1)
    if 0 in ranks.shape:
        return order
    lowest, highest = int(xp.min(ranks)), int(xp.max(ranks))
    order = min(order, highest)
    if lowest < max(order, 1):
        msg = (
            f"order {order} needs as many Hankel singular values above rounding; got {lowest}"
            + (" (the input does not reach the output)" if lowest == 0 else " in one member of the batch")
            + "; ask for a lower order, or reduce that system by itself"
        )
        raise OrderError(msg)
    return order
