r"""One input: $P_{ij} = g_i \bar g_j / \mathrm{meet}_{ij}$ is eliminated by products alone, each entry to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from .._arrays import Array, imag, is_complex, namespace, real
from ._cauchy_pairing import ContinuousModes, Modes

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class SingleInput:
    """Modes and generators of what is left of the Gramian."""

    columns_per_step: ClassVar[int] = 1
    modes: Modes
    g: Inexact[Array, "*batch n"]

    @property
    def inputs(self) -> int:
        """Return 1."""
        return 1

    def roots(self) -> Float[Array, "*batch n"]:
        r"""Return the roots of the diagonal, $|g_i| / \sqrt{\mathrm{meet}_{ii}}$: no square underflows."""
        xp = namespace(self.g)
        return xp.abs(self.g) / xp.sqrt(self.modes.margin)

    def pivot(self, chosen: Array) -> Modes:
        """Return what `eliminate` needs to know of the mode where `chosen` is true."""
        return self.modes.at(chosen)

    def eliminate(self, pivot: Modes) -> tuple[tuple[Array, ...], Self]:
        r"""Eliminate one mode: the column $g_i \sqrt{\mathrm{meet}_{pp}} / \mathrm{meet}_{ip}$."""
        apart, meet = self.modes.against(pivot)
        share = self.g / meet
        return (share * namespace(share).sqrt(pivot.margin),), type(self)(self.modes, share * apart)

    def squares(self) -> Float[Array, "*batch n"]:
        """Return the diagonal of what is left."""
        square = real(self.g) ** 2 + imag(self.g) ** 2 if is_complex(self.g) else self.g * self.g
        return square / self.modes.margin

    def part(self, where: Array | slice) -> Self:
        """Return some of the modes of one system."""
        return type(self)(self.modes.part(where), self.g[where])

    def copy(self) -> Self:
        """Return the same with generators of its own."""
        return type(self)(self.modes, namespace(self.g).asarray(self.g, copy=True))

    def put(self, where: slice, part: Self) -> None:
        """Overwrite the generators of some of the modes."""
        self.g[where] = part.g


@dataclass(frozen=True, eq=False)
class PairedSingleInput(SingleInput):
    """The same for slots: a mode is eliminated with its conjugate, and columns are real: [Re c; Im c]."""

    columns_per_step: ClassVar[int] = 2

    def eliminate(self, pivot: Modes) -> tuple[tuple[Array, ...], Self]:
        r"""Eliminate a mode and its conjugate: two columns.

        They are values of the two functions that are orthonormal in the Hardy space and have poles at the pivot and
        its conjugate: $\{|x_p|, x\}/q$ in continuous time, Kautz's functions in discrete time. A mode on the real axis
        is its own conjugate: one column, the other one zero.

        References
        ----------
        P. Benner, P. Kurschner, J. Saak, Electron. Trans. Numer. Anal. 43 (2014) 142-162. W. H. Kautz, IRE Trans.
        Circuit Theory 1 (1954) 29-39.
        """
        xp = namespace(self.g)
        other = pivot.conjugated()
        (apart, meet), (apart_other, meet_other) = self.modes.against(pivot), self.modes.against(other)
        root, alone = xp.sqrt(pivot.margin), imag(pivot.x) == 0
        single = self.g / meet
        share = single / meet_other
        first, second = self._functions(pivot, root, apart, meet_other)
        columns = xp.where(alone, root * single, first * share), xp.where(alone, xp.zeros_like(share), second * share)
        left = apart * xp.where(alone, single, share * apart_other)
        return tuple(in_real_coordinates(column) for column in columns), type(self)(self.modes, left)

    def _functions(self, pivot: Modes, root: Array, apart: Array, meet_other: Array) -> tuple[Array, Array]:
        """Return the numerators of the two columns, without g."""
        xp = namespace(root)
        if isinstance(self.modes, ContinuousModes):
            return 2**0.5 * root * xp.abs(pivot.x), 2**0.5 * root * self.modes.x
        width = root / xp.sqrt(1 + real(pivot.x) ** 2 + imag(pivot.x) ** 2)
        other = pivot.conjugated()
        # x (1 + |x_p|^2) - 2 Re x_p, which would cancel near the unit circle, from what does not
        return width * (apart - other.x * meet_other), width * xp.abs(pivot.against(other)[1])


def in_real_coordinates(column: Inexact[Array, "*batch n"]) -> Float[Array, "*batch 2n"]:
    """Return [Re c; Im c]."""
    return namespace(column).concat((real(column), imag(column)), axis=-1)
