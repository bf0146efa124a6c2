"""A and E in the form that triangular solves want, by the cheapest way that leads there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .._arrays import Array, identity, is_complex, is_hermitian, namespace, promote
from ..backends import Backend
from ._triangular import Pair, flipped

_LARGE = 24  # order from which a block is worth a place of its own
_FORWARD, _BACKWARD = slice(None), slice(None, None, -1)


@dataclass(frozen=True, eq=False)
class Part:
    r"""$A = U S V^H$ and $E = U T V^H$ on some of the coordinates, S and T upper (quasi-)triangular.

    Parameters
    ----------
    how
        What was recognised, in words.
    S
        Upper (quasi-)triangular; None if diagonal.
    T
        Upper triangular; the identity if None.
    U, V
        Unitary; the identity if None.
    rows
        The coordinates, as an index.
    eigenvalues
        The diagonal of a diagonal S.
    """

    how: str
    S: Array | None
    T: Array | None = None
    U: Array | None = None
    V: Array | None = None
    rows: Any = field(default_factory=lambda: slice(None))
    eigenvalues: Array | None = None

    @cached_property
    def pair(self) -> Pair:
        """Return S and T."""
        if self.S is not None:
            return self.S, self.T
        assert self.eigenvalues is not None
        return self.eigenvalues[:, None] * identity(self.order, like=self.eigenvalues), None

    @property
    def order(self) -> int:
        """Return the number of coordinates."""
        M = self.eigenvalues if self.S is None else self.S
        assert M is not None
        return int(M.shape[-1])

    @cached_property
    def adjoint(self) -> Part:
        r"""Return the same for $A^H$ and $E^H$: the two unitary factors swap, and a triangle runs backwards."""
        if self.eigenvalues is not None:
            return replace(self, eigenvalues=namespace(self.eigenvalues).conj(self.eigenvalues))
        assert self.S is not None
        T = None if self.T is None else flipped(self.T)
        U, V = (None if M is None else _forward(M[:, ::-1]) for M in (self.V, self.U))
        rows = self.rows if U is not None else _reversed(self.rows)
        return replace(self, S=flipped(self.S), T=T, U=U, V=V, rows=rows)


def reduced(A: Array, E: Array | None, backend: Backend) -> tuple[Part, ...]:
    """Return the parts of A and E, independent of each other; nearly always one.

    Raises
    ------
    SingularEquationError
        If the QR or QZ algorithm fails.
    """
    if E is not None:
        A, E = promote(A, E)
        return (_pencil(A, E, backend),)
    if "pattern" not in backend.provides:
        return (_dense(A, backend),)
    pattern = backend.pattern(A)
    if not pattern.blocks:
        return (_single(A, pattern.lower, pattern.upper, backend),)
    parts = []
    for rows, scalar in _chunks(pattern.blocks, namespace(A)):
        inner = A[rows, :][:, rows]
        if scalar:
            parts.append(Part("diagonal", None, rows=rows, eigenvalues=namespace(A).linalg.diagonal(inner)))
        else:
            lower, upper, _ = backend.pattern(inner)
            part = _single(inner, lower, upper, backend)
            parts.append(replace(part, rows=rows[part.rows]))
    return tuple(parts)


def _chunks(blocks: tuple[Array, ...], xp: Any) -> list[tuple[Array, bool]]:
    """Return the blocks as sets of coordinates, the scalar ones as one, small ones by the fifty or so."""
    scalars = [block for block in blocks if block.shape[0] == 1]
    chunks = [(xp.concat(scalars), True)] if scalars else []
    chunks += [(block, False) for block in blocks if block.shape[0] >= _LARGE]
    pending: list[Array] = []
    for block in (block for block in blocks if 1 < block.shape[0] < _LARGE):
        pending.append(block)
        if sum(part.shape[0] for part in pending) >= 2 * _LARGE:
            chunks.append((xp.concat(pending), False))
            pending = []
    chunks += [(xp.concat(pending), False)] if pending else []
    return sorted(chunks, key=lambda chunk: int(chunk[0][0]))


def described(parts: tuple[Part, ...]) -> str:
    """Return in words what was recognised."""
    names = [f"{part.how} {part.order}" for part in parts]
    if len(parts) == 1:
        return parts[0].how
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return "block diagonal: " + ", ".join(f"{count} x {name}" for name, count in counts.items())


def _single(A: Array, lower: int, upper: int, backend: Backend) -> Part:
    """Return the part of a matrix by its number of diagonals below and above the main one."""
    if lower == upper == 0:
        return Part("diagonal", None, eigenvalues=namespace(A).linalg.diagonal(A))
    if lower == 0 or (lower == 1 and _has_pairs(A, -1)):
        return Part("upper triangular", A)
    if upper == 0 or (upper == 1 and _has_pairs(A, 1)):
        return Part("lower triangular", _forward(A[::-1, ::-1]), rows=_BACKWARD)
    return _dense(A, backend)


def _has_pairs(A: Array, offset: int) -> bool:
    """Say whether a real A has conjugate pairs in 2 x 2 blocks on its diagonal and nothing else beyond it there."""
    xp = namespace(A)
    beyond, other = xp.linalg.diagonal(A, offset=offset), xp.linalg.diagonal(A, offset=-offset)
    if is_complex(A) or bool(xp.any((beyond[1:] != 0) & (beyond[:-1] != 0))):
        return False
    half = (xp.linalg.diagonal(A)[1:] - xp.linalg.diagonal(A)[:-1]) / 2
    return bool(xp.all((beyond == 0) | (half * half + beyond * other < 0)))


def _dense(A: Array, backend: Backend) -> Part:
    """Return the part of a matrix without a pattern of zeros."""
    xp = namespace(A)
    if is_hermitian(A):
        values, U = xp.linalg.eigh(A)
        return Part("Hermitian", None, None, U, U, eigenvalues=xp.astype(values, A.dtype))
    U, S = backend.schur(A)
    n = S.shape[-1]
    # A is normal iff S is diagonal; to drop what is less than the Schur form's own error, n eps |A|, changes nothing.
    # A real normal matrix without pairs is symmetric, and with pairs it saves too little.
    if is_complex(S):
        above = xp.linalg.matrix_norm(xp.triu(S, k=1))
        if bool(above <= n * backend.eps(S) * xp.linalg.matrix_norm(S)):
            return Part("normal", None, None, U, U, eigenvalues=xp.linalg.diagonal(S))
    return Part("dense", S, None, U, U)


def _pencil(A: Array, E: Array, backend: Backend) -> Part:
    """Return the part of a pencil."""
    if "pattern" in backend.provides:
        (lower, upper, _), (lower_of_E, upper_of_E, _) = backend.pattern(A), backend.pattern(E)
        if lower == lower_of_E == 0:
            return Part("upper triangular pencil", A, E)
        if upper == upper_of_E == 0:
            A, E = _forward(A[::-1, ::-1]), _forward(E[::-1, ::-1])
            return Part("lower triangular pencil", A, E, rows=_BACKWARD)
    U, V, S, T = backend.qz(A, E)
    return Part("pencil", S, T, U, V)


def _forward(M: Array) -> Array:
    """Return a copy whose entries lie in memory in their own order, which products want."""
    return namespace(M).asarray(M, copy=True)


def _reversed(rows: Any) -> Any:
    if isinstance(rows, slice):
        return _BACKWARD if rows == _FORWARD else _FORWARD
    return rows[::-1]
