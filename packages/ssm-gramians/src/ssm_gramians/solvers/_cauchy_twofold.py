"""Arrays of twice the precision: each number is the unevaluated sum of two, so that 32 digits need no new dtype.

`Onefold` is an ordinary array with the same manners, so that an algorithm can be written once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .._arrays import Array, conj, imag, is_complex, join, namespace, real

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class Onefold:
    """An array."""

    array: Inexact[Array, "*shape"]

    @classmethod
    def of(cls, array: Inexact[Array, "*shape"]) -> Self:
        """Return the array itself."""
        return cls(array)

    def rounded(self) -> Inexact[Array, "*shape"]:
        """Return the array itself."""
        return self.array

    def map(self, function: Callable[[Array], Array]) -> Onefold:
        """Return the same moved about by a function that computes nothing."""
        return Onefold(function(self.array))

    def conj(self) -> Onefold:
        """Return the complex conjugate."""
        return Onefold(conj(self.array))

    def real(self) -> Onefold:
        """Return the real part."""
        return Onefold(real(self.array))

    def sum(self) -> Onefold:
        """Return the sum over the last axis, which is kept with length 1."""
        return Onefold(namespace(self.array).sum(self.array, axis=-1, keepdims=True))

    def __sub__(self, other: Onefold) -> Onefold:
        return Onefold(self.array - other.array)

    def __mul__(self, other: Onefold) -> Onefold:
        return Onefold(self.array * other.array)

    def __truediv__(self, other: Onefold) -> Onefold:
        return Onefold(self.array / other.array)


@dataclass(frozen=True, eq=False)
class Twofold:
    """High and low parts, each with a leading axis: the real part alone, or real and imaginary part.

    Relative errors are a few eps squared.

    References
    ----------
    T. J. Dekker, Numer. Math. 18 (1971) 224-242. M. Joldes, J.-M. Muller, V. Popescu, ACM Trans. Math. Software 44
    (2017) 15.
    """

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]

    @classmethod
    def of(cls, array: Inexact[Array, "*shape"]) -> Self:
        """Return the array itself, to its last digit."""
        parts = (real(array), imag(array)) if is_complex(array) else (array,)
        high = namespace(array).stack(parts)
        return cls(high, namespace(array).zeros_like(high))

    @property
    def parts(self) -> tuple[Array, Array]:
        """Return high and low part."""
        return self.high, self.low

    def rounded(self) -> Inexact[Array, "*shape"]:
        """Return the nearest array of the original precision."""
        return self.high[0, ...] if self.high.shape[0] == 1 else join(self.high[0, ...], self.high[1, ...])

    def map(self, function: Callable[[Array], Array]) -> Twofold:
        """Return the same with both parts moved about by a function that computes nothing."""
        return Twofold(function(self.high), function(self.low))

    def conj(self) -> Twofold:
        """Return the complex conjugate."""
        return Twofold(_mirrored(self.high), _mirrored(self.low))

    def real(self) -> Twofold:
        """Return the real part."""
        return self.map(lambda part: part[:1, ...])

    def sum(self) -> Twofold:
        """Return the sum over the last axis, which is kept with length 1."""
        total = self.map(lambda part: part[..., :1])
        for k in range(1, self.high.shape[-1]):
            total = total + Twofold(self.high[..., k : k + 1], self.low[..., k : k + 1])
        return total

    def __neg__(self) -> Twofold:
        return Twofold(-self.high, -self.low)

    def __add__(self, other: Twofold) -> Twofold:
        high, rest = _exact_sum(self.high, other.high)
        low, tail = _exact_sum(self.low, other.low)
        high, rest = _ordered_sum(high, rest + low)
        return Twofold(*_ordered_sum(high, rest + tail))

    def __sub__(self, other: Twofold) -> Twofold:
        return self + (-other)

    def __mul__(self, other: Twofold) -> Twofold:
        """Multiply; complex factors as one stack of four real products."""
        if 1 in (self.high.shape[0], other.high.shape[0]):
            return _real_product(self, other)
        grid = _real_product(self.map(lambda part: part[:, None, ...]), other.map(lambda part: part[None, ...]))
        straight = grid.map(lambda part: namespace(part).stack((part[0, 0, ...], part[0, 1, ...])))
        crossed = grid.map(lambda part: namespace(part).stack((-part[1, 1, ...], part[1, 0, ...])))
        return straight + crossed

    def __truediv__(self, other: Twofold) -> Twofold:
        """Divide by a real or complex array without zeros."""
        if other.high.shape[0] == 2:
            return (self * other.conj()) / (other * other.conj()).real()
        first = self.high / other.high
        rest = self - _real_product(Twofold(first, 0 * first), other)
        quotient = Twofold(*_ordered_sum(first, rest.high / other.high))
        rest = self - _real_product(quotient, other)
        return quotient + Twofold(rest.high / other.high, 0 * first)

    def exp(self, terms: int = 14) -> Twofold:
        """Return the exponential: a Taylor polynomial next to 0, then squared as often as the argument was halved."""
        xp = namespace(self.high)
        size = float(xp.max(xp.abs(self.high))) if 0 not in self.high.shape else 0.0
        halvings = 8
        while size > 1:
            size, halvings = size / 2, halvings + 1
        small = self.map(lambda part: part / 2.0**halvings)
        one = Twofold.of(xp.ones_like(small.rounded()))
        total = one
        for k in reversed(range(1, terms)):
            total = one + small * total / Twofold(k * one.high[:1, ...], 0 * one.low[:1, ...])
        for _ in range(halvings):
            total = total * total
        return total


def _real_product(a: Twofold, b: Twofold) -> Twofold:
    high, rest = _exact_product(a.high, b.high)
    return Twofold(*_ordered_sum(high, rest + (a.high * b.low + a.low * b.high)))


def _exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _ordered_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the exact sum as two numbers, where |a| >= |b| or a = 0."""
    total = a + b
    return total, b - (total - a)


def _exact_product(a: Array, b: Array) -> tuple[Array, Array]:
    (head_a, tail_a), (head_b, tail_b) = _halves(a), _halves(b)
    product = a * b
    return product, ((head_a * head_b - product) + head_a * tail_b + tail_a * head_b) + tail_a * tail_b


def _halves(a: Array) -> tuple[Array, Array]:
    scaled = a * (4097.0 if namespace(a).finfo(a.dtype).bits == 32 else 134217729.0)  # 2^12 + 1, 2^27 + 1
    head = scaled - (scaled - a)
    return head, a - head


def _mirrored(part: Array) -> Array:
    return part if part.shape[0] == 1 else namespace(part).stack((part[0, ...], -part[1, ...]))
