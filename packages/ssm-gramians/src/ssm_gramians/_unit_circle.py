"""Distances from the unit circle, without cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, imag, is_complex, join, namespace, real, real_dtype

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


def one_minus_product(a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]) -> Inexact[Array, "*batch n n"]:
    r"""$1 - a_i \bar b_j$ to full relative accuracy inside the unit circle.

    From $2\,\mathrm{Re}(a\bar b) = |a|^2 + |b|^2 - |a - b|^2$ follows $2\,\mathrm{Re}(1 - a\bar b) = (1 - |a|^2) +
    (1 - |b|^2) + |a - b|^2$, where all terms are positive; $1 - |a|^2$ comes from error-free products.
    """
    gap = a[..., :, None] - b[..., None, :]
    margin = (one_minus_square(a)[..., :, None] + one_minus_square(b)[..., None, :] + _square(gap)) / 2
    if not is_complex(a):
        return margin
    # Im(1 - a conj b) = Im(a conj gap) = Im a Re gap - Re a Im gap
    turn = imag(a)[..., :, None] * real(gap) - real(a)[..., :, None] * imag(gap)
    return join(margin, turn)


def one_minus_square(a: Inexact[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    r"""$1 - |a|^2$ to full relative accuracy, by Dekker's error-free square (Numer. Math. 18 (1971) 224-242)."""
    xp = namespace(a)
    x, y = xp.abs(real(a)), xp.abs(imag(a))
    large, small = xp.maximum(x, y), xp.minimum(x, y)
    high, high_rest = _exact_square(large)
    low, low_rest = _exact_square(small)
    # Sterbenz: 1 - high is exact above 1/2; below it, 1/2 - high and 1/2 - low are wherever their sum is small
    rest = xp.where(high >= 0.5, (1 - high) - low, (0.5 - high) + (0.5 - low))
    return rest - (high_rest + low_rest)


def _exact_square(x: Array) -> tuple[Array, Array]:
    """Return p and e with p + e = x^2 exactly."""
    splitter = 4097.0 if real_dtype(x) == namespace(x).float32 else 134217729.0  # 2^12 + 1, 2^27 + 1
    c = splitter * x
    head = c - (c - x)
    tail = x - head
    p = x * x
    return p, ((head * head - p) + 2 * head * tail) + tail * tail


def _square(z: Array) -> Array:
    return real(z) * real(z) + imag(z) * imag(z)


def exp_minus_one(z: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
    r"""$e^z - 1$ to full relative accuracy, of complex arrays too, for which not every library has `expm1`.

    Its real part is $(e^x - 1)\cos y - 2\sin^2(y/2)$. Where these cancel, x is of the size of $y^2$ and the imaginary
    part, of the size of y, is all that counts.
    """
    xp = namespace(z)
    if not is_complex(z):
        return xp.expm1(z)
    x, y = real(z), imag(z)
    half = xp.sin(y / 2)
    return join(xp.expm1(x) * xp.cos(y) - 2 * half * half, xp.exp(x) * xp.sin(y))
