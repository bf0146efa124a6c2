"""Which Hankel singular values are noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ._arrays import Array, namespace

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._diagnostics import Diagnosis


def hankel_floor(
    controllability: Diagnosis,
    observability: Diagnosis,
    *,
    method: Literal["gramians", "factors", "cauchy"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Return the level below which computed Hankel singular values are noise.

    Let $\delta$ be the sum of the relative errors of P and Q, and s the root of $\lVert P\rVert \lVert Q\rVert$.

    ============  =======================  ==========================================================================
    method        floor                    why
    ============  =======================  ==========================================================================
    `"gramians"`  $s \sqrt\delta$          $\sigma^2$ are the eigenvalues of $Z_Q^H P Z_Q$: an error in P moves them by
                                           up to $\lVert\Delta P\rVert \lVert Q\rVert$, however small they are
    `"factors"`   $s \delta$               $\sigma$ are the singular values of $Z_Q^H Z_P$: an error of a factor, which
                                           no squaring has enlarged, moves them by up to s times its own size
    `"cauchy"`    0                        every one has its own relative accuracy
    ============  =======================  ==========================================================================

    The first two are Weyl's inequality. In balanced coordinates $s = \sigma_1$; in others s is larger, and so is the
    noise. Factors of a Gramian that was formed first, by Cholesky or eigenvalues, count as Gramians.

    Parameters
    ----------
    controllability
        Diagnosis of P.
    observability
        Diagnosis of Q.
    method
        How the Hankel singular values were computed; None for factors if both diagnoses are of a `Gram`, else Gramians.
    """
    if method is None:
        method = "factors" if controllability.factored and observability.factored else "gramians"
    delta = _known_error(controllability) + _known_error(observability)
    xp = namespace(delta)
    scale = xp.sqrt(controllability.size) * xp.sqrt(observability.size)
    if method == "cauchy":
        return xp.zeros_like(scale)
    return scale * (delta if method == "factors" else xp.sqrt(delta))


def _known_error(diagnosis: Diagnosis) -> Array:
    """Return the error estimate, or the relative residual and rounding where there is none."""
    return diagnosis.residual + diagnosis.eps if diagnosis.error is None else diagnosis.error
