"""The three equations: the only place that knows their signs.

Each is written with everything on one side, `terms + Q = 0`, so that a positive Q gives a positive X for a stable A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from ._arrays import Array, adjoint, check_floating
from ._errors import ShapeError
from ._gram import Gram
from ._structure import Matrix, adjoint_of, arrays_of, as_matrix, times, to_dense
from ._untraced import untraced

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Inexact

RightSide: TypeAlias = "Array | Gram"


class Equation(ABC):
    """A linear matrix equation, its matrices checked; without a right-hand side it is the operator alone."""

    name: ClassVar[str]
    A: Matrix
    Q: RightSide | None

    @untraced
    def __post_init__(self) -> None:
        for name in ("A", "B", "E", "F"):
            if (M := getattr(self, name, None)) is not None and (wrapped := as_matrix(M)) is not M:
                object.__setattr__(self, name, wrapped)
        check_floating(**self.arrays)
        _check(self.matrices, self.Q, self.shape)

    @cached_property
    def matrices(self) -> dict[str, Matrix]:
        """Return the matrices of the operator, by name."""
        found = {name: getattr(self, name, None) for name in ("A", "B", "E", "F")}  # None where an equation has none
        return {name: M for name, M in found.items() if M is not None}

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of X without its leading dimensions."""
        return self.A.shape[-1], self.A.shape[-1]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Return every array of the equation by name: those of the matrices, then that of the right-hand side."""
        found: dict[str, Array] = {}
        for name, M in self.matrices.items():
            parts = arrays_of(M)
            found |= {name if k == 0 else f"{name} (part {k + 1})": part for k, part in enumerate(parts)}
        return found if self.Q is None else {**found, "Q": self.Q.Z if isinstance(self.Q, Gram) else self.Q}

    @abstractmethod
    def terms(self, X: Inexact[Array, "*batch n m"]) -> tuple[Inexact[Array, "*batch n m"], ...]:
        """Return the matrices that add up to zero at the solution; the last one is Q."""

    def adjoint(self) -> Self:
        """Return the equation whose operator is the adjoint of this one's."""
        return self._with(adjoint_of)

    def to_dense(self) -> Self:
        """Return the same equation with every matrix dense."""
        return self._with(to_dense)

    def with_right_side(self, Q: RightSide | None) -> Self:
        """Return the same operator with another right-hand side."""
        return self if Q is self.Q else replace(self, Q=Q)  # type: ignore[type-var]  # each subclass is a dataclass

    def _with(self, function: Callable[[Matrix], Matrix]) -> Self:
        matrices = {name: function(M) for name, M in self.matrices.items()}
        return replace(self, **matrices)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Lyapunov(Equation):
    r"""$A X E^H + E X A^H + Q = 0$, in continuous time.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), a structure such as `Diagonal`, or a SciPy sparse matrix.
    Q
        Right-hand side: dense, shape (..., n, n), Hermitian or not; or a `Gram`, for a solution as a `Gram`; None for
        the operator alone.
    E
        Dense or sparse, regular; the identity if None.
    """

    name: ClassVar[str] = "lyapunov"
    A: Matrix
    Q: Inexact[Array, "*batch n n"] | Gram | None = None
    E: Matrix | None = None

    def terms(self, X: Inexact[Array, "*batch n n"]) -> tuple[Inexact[Array, "*batch n n"], ...]:
        """Return the matrices that add up to zero at the solution; the last one is Q."""
        left, right = times(self.A, X), adjoint(times(self.A, adjoint(X)))
        if self.E is not None:
            left, right = adjoint(times(self.E, adjoint(left))), times(self.E, right)
        return left, right, dense_right_side(self.Q)

    def thin_terms(self, Z: Inexact[Array, "*batch n k"]) -> tuple[tuple[Array, Array], ...]:
        r"""Return pairs (L, R) whose products $L R^H$ add up to zero at the solution $Z Z^H$; Q is a `Gram`."""
        assert isinstance(self.Q, Gram)
        moved, held = times(self.A, Z), Z if self.E is None else times(self.E, Z)
        return (moved, held), (held, moved), (self.Q.Z, self.Q.Z)


@dataclass(frozen=True, eq=False)
class Stein(Equation):
    r"""$A X A^H - E X E^H + Q = 0$, in discrete time.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), a structure such as `Diagonal`, or a SciPy sparse matrix.
    Q
        Right-hand side: dense, shape (..., n, n), Hermitian or not; or a `Gram`, for a solution as a `Gram`; None for
        the operator alone.
    E
        Dense or sparse, regular; the identity if None.
    """

    name: ClassVar[str] = "stein"
    A: Matrix
    Q: Inexact[Array, "*batch n n"] | Gram | None = None
    E: Matrix | None = None

    def terms(self, X: Inexact[Array, "*batch n n"]) -> tuple[Inexact[Array, "*batch n n"], ...]:
        """Return the matrices that add up to zero at the solution; the last one is Q."""
        held = X if self.E is None else adjoint(times(self.E, adjoint(times(self.E, X))))
        return adjoint(times(self.A, adjoint(times(self.A, X)))), -held, dense_right_side(self.Q)

    def thin_terms(self, Z: Inexact[Array, "*batch n k"]) -> tuple[tuple[Array, Array], ...]:
        r"""Return pairs (L, R) whose products $L R^H$ add up to zero at the solution $Z Z^H$; Q is a `Gram`."""
        assert isinstance(self.Q, Gram)
        moved, held = times(self.A, Z), Z if self.E is None else times(self.E, Z)
        return (moved, moved), (-held, held), (self.Q.Z, self.Q.Z)


@dataclass(frozen=True, eq=False)
class Sylvester(Equation):
    r"""$A X F + E X B + Q = 0$.

    Parameters
    ----------
    A
        Dense, shape (..., n, n).
    B
        Dense, shape (..., m, m).
    Q
        Right-hand side, shape (..., n, m); None for the operator alone.
    E
        Shape (..., n, n); the identity if None.
    F
        Shape (..., m, m); the identity if None.
    """

    name: ClassVar[str] = "sylvester"
    A: Matrix
    B: Matrix
    Q: Inexact[Array, "*batch n m"] | None = None
    E: Matrix | None = None
    F: Matrix | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of X without its leading dimensions."""
        return self.A.shape[-1], self.B.shape[-1]

    def terms(self, X: Inexact[Array, "*batch n m"]) -> tuple[Inexact[Array, "*batch n m"], ...]:
        """Return the matrices that add up to zero at the solution; the last one is Q."""
        left, right = times(self.A, X), _from_right(X, self.B)
        left = left if self.F is None else _from_right(left, self.F)
        right = right if self.E is None else times(self.E, right)
        return left, right, dense_right_side(self.Q)


def dense_right_side(Q: RightSide | None) -> Array:
    """Return Q as a dense array."""
    assert Q is not None, "an operator alone has no terms"
    return Q.to_dense() if isinstance(Q, Gram) else Q


def _from_right(X: Array, M: Matrix) -> Array:
    """Return X M."""
    return adjoint(times(adjoint_of(M), adjoint(X)))


def _check(matrices: dict[str, Matrix], Q: RightSide | None, shape: tuple[int, int]) -> None:
    wanted = _wanted(matrices, Q, shape)
    if wanted is not None:
        operands = matrices if Q is None else {**matrices, "Q": Q}
        got = ", ".join(f"{name} {tuple(M.shape)}" for name, M in operands.items())
        msg = f"got {got}; want {wanted}"
        raise ShapeError(msg)


def _wanted(matrices: dict[str, Matrix], Q: RightSide | None, shape: tuple[int, int]) -> str | None:
    """Return what the shapes should be; None if they are."""
    if any(len(M.shape) < 2 or M.shape[-1] != M.shape[-2] or M.shape[-1] < 1 for M in matrices.values()):
        return "square matrices (..., n, n) with n >= 1"
    orders = {"A": shape[0], "B": shape[1], "E": shape[0], "F": shape[1]}
    wrong = any(M.shape[-1] != orders[name] for name, M in matrices.items())
    if wrong or (Q is not None and (Q.ndim < 2 or tuple(Q.shape[-2:]) != shape)):
        return f"Q (..., {shape[0]}, {shape[1]}), E of the order of A, F of the order of B"
    batches = {tuple(M.shape[:-2]) for M in (*matrices.values(), *(() if Q is None else (Q,)))}
    return "one leading batch shape (or none) in all of them" if len(batches - {()}) > 1 else None
