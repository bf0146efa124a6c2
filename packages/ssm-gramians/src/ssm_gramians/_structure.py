"""What A and E can be besides a dense array: the interface, and the words that work for arrays and structures alike."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from ._arrays import Array, adjoint, promote

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


class Structure(ABC):
    """A matrix that is stored as less than its n x n entries.

    `kind` is the word for it in `Solver.structures`, `shape` the shape (..., n, n) and `dtype` the dtype of the matrix
    that it stands for.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix that this object stands for."""

    @property
    @abstractmethod
    def dtype(self) -> Any:
        """Return the dtype of that matrix."""

    @property
    @abstractmethod
    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays that it is made of."""

    @abstractmethod
    def map(self, function: Callable[[Array], Array]) -> Self:
        """Return the same structure with each array replaced by `function(array)`."""

    @abstractmethod
    def adjoint(self) -> Self:
        """Return the conjugate transpose, which has the same structure."""

    @abstractmethod
    def times(self, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
        """Return the product A X without forming A."""

    @abstractmethod
    def to_dense(self) -> Inexact[Array, "*batch n n"]:
        """Return the dense matrix."""

    @abstractmethod
    def poles(self) -> Complex[Array, "*batch n"]:
        """Return all eigenvalues of the matrix."""


Matrix: TypeAlias = Any  # an array or a `Structure`: as arrays share no base class, no checker can tell them apart


def as_matrix(A: Matrix) -> Matrix:
    """Return A, with a SciPy sparse matrix or array wrapped as a `Sparse`."""
    scipy_sparse = sys.modules.get("scipy.sparse")  # whoever holds one has imported it
    if scipy_sparse is not None and scipy_sparse.issparse(A):
        from ._sparse import Sparse

        return Sparse(A)
    return A


def kind_of(A: Matrix) -> str:
    """Return the word for A in `Solver.structures`."""
    return A.kind if isinstance(A, Structure) else "dense"


def arrays_of(A: Matrix) -> tuple[Array, ...]:
    """Return the arrays that a dense or structured A is made of."""
    return A.arrays if isinstance(A, Structure) else (A,)


def map_arrays(A: Matrix, function: Callable[[Array], Array]) -> Matrix:
    """Return a dense or structured A with each of its arrays replaced by `function(array)`."""
    return A.map(function) if isinstance(A, Structure) else function(A)


def times(A: Matrix, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
    """Return the product A X for a dense or structured A."""
    if isinstance(A, Structure):
        return A.times(X)
    left, right = promote(A, X)
    return left @ right


def adjoint_of(A: Matrix) -> Matrix:
    """Return the conjugate transpose of a dense or structured A."""
    return A.adjoint() if isinstance(A, Structure) else adjoint(A)


def to_dense(A: Matrix) -> Inexact[Array, "*batch n n"]:
    """Return a dense or structured A as a dense array."""
    return A.to_dense() if isinstance(A, Structure) else A
