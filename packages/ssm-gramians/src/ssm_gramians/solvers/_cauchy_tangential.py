r"""Several inputs: $P_{ij} = g_i g_j^H / \mathrm{meet}_{ij}$ is eliminated along one direction of the inputs a step.

Rows g lose their part along $g_p$ as a single input would, and keep the rest. Products alone do not do here:
$g_i g_p^H$ may cancel. So every row is carried in twice the precision where all digits count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias

from .._arrays import Array, as_complex, conj, namespace, real
from ._cauchy_pairing import ContinuousModes, LogModes, Modes, pick
from ._cauchy_twofold import Onefold, Twofold

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

Precise: TypeAlias = Any  # Onefold or Twofold, never mixed


class RowPivot(NamedTuple):
    """A mode and its generator row."""

    modes: Modes
    x: Precise  # (..., 1)
    row: Precise  # (..., 1, m)
    noise: Array  # (..., 1)

    def conjugated(self) -> RowPivot:
        """Return the conjugate mode with its row."""
        return RowPivot(self.modes.conjugated(), self.x.conj(), self.row.conj(), self.noise)


@dataclass(frozen=True, eq=False)
class SeveralInputs:
    """Modes and generator rows of what is left of the Gramian.

    A row that has shrunk below its rounding is noise, and becomes zero.
    """

    columns_per_step: ClassVar[int] = 1
    modes: Modes
    x: Precise  # (..., n)
    G: Precise  # (..., n, m)
    noise: Float[Array, "*batch n"]

    @property
    def inputs(self) -> int:
        """Return the number of inputs."""
        return int(self.G.rounded().shape[-1])

    @classmethod
    def of(cls, modes: Modes, B: Inexact[Array, "*batch n m"], *, twofold: bool) -> Self:
        """Start the elimination."""
        eps = float(namespace(B).finfo(B.dtype).eps)
        size = namespace(B).linalg.vector_norm(B, axis=-1)
        if not twofold:
            return cls(modes, Onefold(modes.x), Onefold(B), 64 * eps * size)
        x = Twofold.of(modes.log).exp() if isinstance(modes, LogModes) else Twofold.of(modes.x)
        return cls(modes, x, Twofold.of(B), 64 * eps * eps * size)

    def roots(self) -> Float[Array, "*batch n"]:
        r"""Return the roots of the diagonal, $|g_i| / \sqrt{\mathrm{meet}_{ii}}$."""
        xp = namespace(self.noise)
        return xp.linalg.vector_norm(self.G.rounded(), axis=-1) / xp.sqrt(self.modes.margin)

    def pivot(self, chosen: Array) -> RowPivot:
        """Return what `eliminate` needs to know of the mode where `chosen` is true."""
        row = self.G.map(lambda part: pick(part.mT, chosen[..., None, :]).mT)
        return RowPivot(
            self.modes.at(chosen), self.x.map(lambda part: pick(part, chosen)), row, pick(self.noise, chosen)
        )

    def part(self, where: Array | slice) -> Self:
        """Return some of the modes of one system, in working precision."""
        x, G = self.x.map(lambda part: part[where]), self.G.map(lambda part: part[where, :])
        return type(self)(self.modes.part(where), x, G, self.noise[where])

    def squares(self) -> Float[Array, "*batch n"]:
        """Return the diagonal of what is left."""
        xp, G = namespace(self.noise), self.G.rounded()
        return xp.sum(real(G * conj(G)), axis=-1) / self.modes.margin

    def copy(self) -> Self:
        """Return the same with generators of its own."""
        return replace(self, G=self.G.map(lambda part: namespace(part).asarray(part, copy=True)))

    def put(self, where: slice, part: Self) -> None:
        """Overwrite the generators of some of the modes, in working precision."""
        self.G.rounded()[where, :] = part.G.rounded()

    def eliminate(self, pivot: RowPivot) -> tuple[tuple[Array, ...], Self]:
        """Eliminate one mode along one direction: one column."""
        column, left = self._step(pivot)
        return (column,), left

    def conjugated(self) -> SeveralInputs:
        """Return the conjugate modes with their rows."""
        return SeveralInputs(self.modes.conjugated(), self.x.conj(), self.G.conj(), self.noise)

    def with_conjugates(self) -> SeveralInputs:
        """Return the modes and rows, then their conjugates."""
        xp, other = namespace(self.noise), self.conjugated()
        x = Twofold(*(xp.concat(pair, axis=-1) for pair in zip(self.x.parts, other.x.parts, strict=True)))
        G = Twofold(*(xp.concat(pair, axis=-2) for pair in zip(self.G.parts, other.G.parts, strict=True)))
        return SeveralInputs(self.modes.with_conjugates(), x, G, xp.concat((self.noise, self.noise), axis=-1))

    def _step(self, pivot: RowPivot) -> tuple[Array, Self]:
        xp = namespace(self.noise)
        size = (pivot.row * pivot.row.conj()).real().sum()  # (..., 1, 1)
        empty = size.rounded() == 0
        size = size.map(lambda part: xp.where(empty, xp.ones_like(part), part))
        meet, loss = self._meet(pivot)
        along = (self.G * pivot.row.conj()).sum() / size  # (..., n, 1)
        G = self.G - along * loss.map(lambda part: part[..., None]) * pivot.row
        gone = xp.linalg.vector_norm(G.rounded(), axis=-1) <= self.noise
        G = G.map(lambda part: xp.where(gone[..., None], xp.zeros_like(part), part))
        scale = xp.sqrt(size.rounded()[..., 0] * pivot.modes.margin)
        return along.rounded()[..., 0] * scale / meet.rounded(), replace(self, G=G)

    def _meet(self, pivot: RowPivot) -> tuple[Precise, Precise]:
        r"""Return the meets with the pivot, and $1 - b(x_i)$ for its Blaschke factor b.

        It is 1 at infinity in continuous time, at 1 in discrete time, so that a conjugate pair has a real product.
        """
        x, x_p = self.x, pivot.x
        if isinstance(self.modes, ContinuousModes):
            meet = x - x_p.conj().map(lambda part: -part)
            return meet, (x_p - x_p.conj().map(lambda part: -part)).real() / meet
        one = type(x).of(namespace(self.noise).ones_like(x_p.rounded()))
        if isinstance(x, Twofold):
            meet, margin = one - x * x_p.conj(), one.real() - (x_p * x_p.conj()).real()
        else:
            meet, margin = Onefold(self.modes.against(pivot.modes)[1]), Onefold(pivot.modes.margin)
        return meet, (one - x) * margin / (meet * (one - x_p))


@dataclass(frozen=True, eq=False)
class PairedSeveralInputs(SeveralInputs):
    """The same for slots: a mode is eliminated with its conjugate, and columns are real: [Re c; Im c]."""

    columns_per_step: ClassVar[int] = 2

    def eliminate(self, pivot: RowPivot) -> tuple[tuple[Array, ...], Self]:
        """Eliminate a mode and its conjugate: two columns."""
        alone = SeveralInputs(pivot.modes, pivot.x, pivot.row, pivot.noise)
        mate = SeveralInputs(*pivot.conjugated())
        head, _ = alone._step(pivot)
        mixed, mate = mate._step(pivot)
        second = RowPivot(mate.modes, mate.x, mate.G, mate.noise)
        tail, _ = mate._step(second)
        slots, mates = SeveralInputs(self.modes, self.x, self.G, self.noise), self.conjugated()
        (a, slots), (b, mates) = slots._step(pivot), mates._step(pivot)
        (c, slots), (d, _) = slots._step(second), mates._step(second)
        columns = made_real(a, b, c, d, turn(head, mixed, tail))
        return columns, replace(self, G=slots.G)


def turn(head: Array, mixed: Array, tail: Array) -> tuple[Array, Array, Array]:
    r"""Return the unitary 2 x 2 matrix that makes the block $[h, 0; m, t]$ of a pivot and its mate real, in factors.

    In real coordinates the block is $[(h + m)/2, t/2; (h - m)/2i, -t/2i]$; the matrix clears the corner of its first
    row, or of its second one where the first is zero, and makes the other corner positive.
    """
    xp = namespace(head)
    head, mixed, tail = (as_complex(value) for value in (head, mixed, tail))
    upper, lower = (head + mixed, tail), ((head - mixed) / 1j, -tail / 1j)
    flat = xp.abs(upper[0]) ** 2 + xp.abs(upper[1]) ** 2 == 0
    u, v = (xp.where(flat, w, z) for z, w in zip(upper, lower, strict=True))
    size = xp.sqrt(xp.abs(u) ** 2 + xp.abs(v) ** 2)
    size = xp.where(size == 0, xp.ones_like(size), size)
    u, v = u / size, v / size
    corner = lower[1] * u - lower[0] * v
    length = xp.abs(corner)
    phase = xp.where(length == 0, xp.ones_like(corner), corner / xp.where(length == 0, xp.ones_like(length), length))
    return u, v, phase


def made_real(a: Array, b: Array, c: Array, d: Array, unitary: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Return the columns [a; b] and [c; d] over modes and mates in real coordinates, turned to be real."""
    u, v, phase = unitary
    xp = namespace(a)
    first = ((a + b) / 2, (c + d) / 2), ((a - b) / 2j, (c - d) / 2j)
    lead = [real(p * conj(u) + q * conj(v)) for p, q in first]
    rest = [real((q * u - p * v) * conj(phase)) for p, q in first]
    return xp.concat(lead, axis=-1), xp.concat(rest, axis=-1)
