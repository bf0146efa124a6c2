r"""Extended Krylov spaces of $M = G^{-1} F$: spanned by $M^{-j} W, \ldots, M^{j-1} W$ with $W = G^{-1} B$."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Array, conj
from .._pencil import Pencil
from ._block_basis import BlockBasis

if TYPE_CHECKING:
    from jaxtyping import Inexact


class ExtendedSpace(ABC):
    """A basis V, the projection T of M, and $M V = V_+ T_+$, where the last block row of $T_+$ is the `coupling`.

    Parameters
    ----------
    pencil
        F and G.
    B
        The right-hand side of the pencil's equation.
    """

    hermitian: bool

    def __init__(self, pencil: Pencil, B: Inexact[Array, "n m"]) -> None:
        self.pencil = pencil
        self.dtype = np.result_type(B.dtype, np.complex128 if pencil.is_complex else np.float64)
        self.basis = self._new_basis(2 * B.shape[1])
        B = B.astype(self.dtype, copy=False)
        W = pencil.solve_right(B)
        self.basis.append(W.T, pencil.solve_left(B).T)
        self._T = np.zeros((0, 0), dtype=self.dtype)
        self.start = conj(self.basis.rows) @ (B if self.hermitian else W)
        self.coupling = np.zeros((0, 0), dtype=self.dtype)

    @abstractmethod
    def expand(self) -> int:
        """Add a block, project the one before it, and return how many vectors were new."""

    @abstractmethod
    def _new_basis(self, width: int) -> BlockBasis: ...

    @property
    def size(self) -> int:
        """Return the order of T: the vectors of all blocks but the last."""
        return self.basis.ends[-2]

    @property
    def T(self) -> Inexact[Array, "k k"]:
        """Return the projection of M."""
        return self._T[: self.size, : self.size]

    @property
    def V(self) -> Inexact[Array, "k n"]:
        """Return the basis that T belongs to, as rows."""
        return self.basis.rows[: self.size]

    @property
    def b(self) -> Inexact[Array, "k m"]:
        """Return the coordinates of W."""
        b = np.zeros((self.size, self.start.shape[1]), dtype=self.dtype)
        b[: len(self.start)] = self.start
        return b

    def residual_norm(self, Y: Inexact[Array, "k k"]) -> float:
        r"""Return $\lVert F X G^H + G X F^H + B B^H\rVert_F$ for $X = V^T Y \bar V$, from two thin blocks.

        By $M V = V_+ T_+$ the residual is $P R^H + R P^H$, with $P = G V_{j+1} C$, $R = G V Y e_j$.
        """
        count = self.coupling.shape[1]
        tail = Y[:, -count:]
        if not self.coupling.size:
            return 0.0
        if self.pencil.right_is_identity:  # both blocks are orthonormal, but for what short recurrences lose
            return float(np.sqrt(2) * np.linalg.norm(self.coupling @ tail.conj().T))
        P = self.pencil.right(self.basis.last.T @ self.coupling)
        R = self.pencil.right(np.asfortranarray((tail.T @ self.V).T))
        cross = R.conj().T @ P
        square = np.vdot(P.conj().T @ P, R.conj().T @ R).real + np.vdot(cross.conj().T, cross).real
        return float(np.sqrt(max(2 * square, 0.0)))

    def _reserve(self) -> None:
        if self.basis.ends[-1] > len(self._T):
            grown = np.zeros((2 * self.basis.ends[-1],) * 2, dtype=self.dtype)
            grown[: len(self._T), : len(self._T)] = self._T
            self._T = grown


class HermitianSpace(ExtendedSpace):
    """For Hermitian F and positive definite G: three-term recurrences in the inner product of G.

    Orthogonality to older blocks is left to rounding, as in the Lanczos process: what is lost costs a few steps and
    no accuracy, since the residual is taken from the vectors as they are.
    """

    hermitian = True

    def expand(self) -> int:
        """Add a block, project the one before it, and return how many vectors were new."""
        basis, split, pencil = self.basis, self.basis.split, self.pencil
        old = slice(basis.ends[-2], basis.ends[-1])
        V, image = basis.last, basis.last_image
        FV = pencil.left(V.T)
        basis.append(pencil.solve_right(FV[:, :split]).T, pencil.solve_left(image[split:].T).T)
        self._reserve()
        new = slice(basis.ends[-2], basis.ends[-1])
        block = conj(basis.rows[old.start :]) @ FV
        here, self.coupling = block[: old.stop - old.start], block[old.stop - old.start :]
        self._T[old, old] = (here + here.conj().T) / 2
        self._T[new, old], self._T[old, new] = self.coupling, self.coupling.conj().T
        return new.stop - new.start

    def _new_basis(self, width: int) -> BlockBasis:
        right = None if self.pencil.right_is_identity else self.pencil.right
        # Where the basis may fill the whole space, only all of its vectors tell when it does.
        window = 2 if self.pencil.order > 50 * width else None
        return BlockBasis(self.pencil.order, right, window, self.dtype)


class GeneralSpace(ExtendedSpace):
    """For any F and G: full orthogonalisation in the Euclidean inner product."""

    hermitian = False

    def expand(self) -> int:
        """Add a block, project the one before it, and return how many vectors were new."""
        basis, split, pencil = self.basis, self.basis.split, self.pencil
        old = slice(basis.ends[-2], basis.ends[-1])
        MV = pencil.solve_right(pencil.left(basis.last.T))
        basis.append(MV[:, :split].T, pencil.solve_left(pencil.right(basis.last[split:].T)).T)
        self._reserve()
        column = conj(basis.rows) @ MV
        self._T[: len(column), old] = column
        self.coupling = column[old.stop :]
        return basis.ends[-1] - basis.ends[-2]

    def refresh(self) -> None:
        """Project M on the whole basis anew: what rounding adds below the blocks of T counts for bad conditions."""
        image = self.pencil.solve_right(self.pencil.left(np.asfortranarray(self.V.T)))
        self._T[: self.size, : self.size] = conj(self.V) @ image

    def _new_basis(self, width: int) -> BlockBasis:
        del width
        return BlockBasis(self.pencil.order, None, None, self.dtype)
