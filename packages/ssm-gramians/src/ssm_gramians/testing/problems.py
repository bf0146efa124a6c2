"""Equations whose answers are known by construction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .._arrays import Array
from .._equations import Equation
from .._gram import Gram
from .._structure import kind_of, map_arrays


@dataclass(frozen=True, eq=False)
class Problem:
    """An equation in NumPy arrays with its answer.

    Parameters
    ----------
    name
        What is hard about it.
    equation
        With NumPy arrays, in double precision; its right-hand side is dense or a `Gram`.
    answer
        X, dense.
    condition
        The error of a backward-stable solve in units of eps, an upper estimate.
    stable
        Whether A is stable: iterative solvers may refuse the others.
    rank
        The rank of X; n if None.
    """

    name: str
    equation: Equation
    answer: Any
    condition: float = 1e3
    stable: bool = True
    rank: int | None = None

    def __str__(self) -> str:
        return f"{self.equation.name}, {'gram' if self.is_gram else 'dense'}: {self.name}"

    @property
    def is_gram(self) -> bool:
        """Say whether the solution is wanted as a factor."""
        return isinstance(self.equation.Q, Gram)

    @property
    def batches(self) -> bool:
        """Say whether leading dimensions make sense: a sparse matrix has none."""
        return not self.numpy_only

    @property
    def numpy_only(self) -> bool:
        """Say whether a matrix is of a kind that only NumPy arrays come in."""
        return any(kind_of(M) in {"sparse", "matrix_free"} for M in self.equation.matrices.values())

    def on(self, asarray: Callable[[Array], Array]) -> Equation:
        """Return the equation with its arrays made by `asarray`."""
        return convert(self.equation, asarray)


def convert(equation: Equation, asarray: Callable[[Array], Array]) -> Equation:
    """Return the equation with every array replaced by `asarray(array)`.

    Parameters
    ----------
    equation
        Any equation, with or without a right-hand side.
    asarray
        From an array to an array.
    """
    matrices = {name: map_arrays(M, asarray) for name, M in equation.matrices.items()}
    changed: Any = replace  # every equation is a dataclass, which the type of their base cannot say
    return changed(equation, **matrices, Q=convert_right_side(equation.Q, asarray))


def convert_right_side(Q: Any, asarray: Callable[[Array], Array]) -> Any:
    """Return a dense or `Gram` right-hand side with its array replaced by `asarray(array)`."""
    if Q is None:
        return None
    return Gram(asarray(Q.Z)) if isinstance(Q, Gram) else asarray(Q)


def dense_of(X: Any) -> Array:
    """Return a dense array or a `Gram` as a dense array.

    Parameters
    ----------
    X
        The value of a solution, or a right-hand side.
    """
    return X.to_dense() if isinstance(X, Gram) else X


def array_of(X: Any) -> Array:
    """Return the array behind a dense array or a `Gram`."""
    return X.Z if isinstance(X, Gram) else X


@cache
def problems() -> tuple[Problem, ...]:
    """Return the problem set, the same objects each time, small enough that the O(n^6) oracle solves all of it."""
    return tuple(_all())


def _all() -> Iterator[Problem]:
    from ._problems_dense import dense_problems
    from ._problems_descriptor import descriptor_problems
    from ._problems_dplr import dplr_problems
    from ._problems_gram import gram_problems

    yield from dense_problems()
    yield from descriptor_problems()
    yield from dplr_problems()
    yield from gram_problems()
