"""G_r = Σ c_i b_iᵀ / (s − λ_i): the form in which H2 norms and their derivatives are sums of fractions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from ._mirrored import kernel, kernel_slopes

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from ._mirrored import MirroredResponse


@dataclass(frozen=True, eq=False)
class PoleResidue:
    """Σ_i c_i b_iᵀ e(λ_i), and the conjugates of those slots that have Im λ ≠ 0 if the system is real.

    Parameters
    ----------
    poles
        λ, one for each slot; those of a real system with Im λ ≥ 0.
    B
        Rows b_iᵀ, shape (slots, m); real where the pole of a real system is.
    C
        Columns c_i, shape (p, slots); real where the pole of a real system is.
    paired
        Whether the system is real.
    discrete
        Whether e(λ) is λᵏ and not e^{λt}.
    """

    poles: Complex[np.ndarray, " slots"]
    B: Complex[np.ndarray, "slots m"]
    C: Complex[np.ndarray, "p slots"]
    paired: bool
    discrete: bool

    @classmethod
    def of(cls, system: StateSpace, *, paired: bool) -> PoleResidue:
        """Return the form of a dense system, which must be real if paired, with rows b of unit length."""
        poles, vectors = np.linalg.eig(system.A)
        poles = _apart(poles, system.is_discrete, paired)
        B = np.linalg.lstsq(vectors.astype(complex), system.B.astype(complex), rcond=1e-15)[0]
        C = (system.C @ vectors).astype(complex)
        kept = poles.imag >= 0 if paired else np.ones(poles.shape, dtype=bool)
        return cls(poles[kept], B[kept], C[:, kept], paired, system.is_discrete).tidied()

    def tidied(self) -> PoleResidue:
        """Return it with rows b of unit length, and real slots real throughout."""
        B, C, poles = self.B.astype(complex), self.C.astype(complex), self.poles.astype(complex)
        if self.paired:
            real = poles.imag == 0
            largest = np.take_along_axis(B, np.abs(B).argmax(axis=1)[:, None], axis=1)
            turn = np.where(real[:, None] & (largest != 0), largest / np.where(largest == 0, 1, np.abs(largest)), 1)
            B, C = B / turn, C * turn[:, 0]
            B[real], C[:, real] = B[real].real, C[:, real].real
        length = np.linalg.norm(B, axis=1, keepdims=True)
        B = np.where(length > 0, B / np.where(length > 0, length, 1), np.eye(1, B.shape[1]))
        return replace(self, poles=poles, B=B, C=C * np.where(length > 0, length, 0)[:, 0])

    @property
    def pairs(self) -> np.ndarray:
        """Say which slots bring a conjugate along."""
        return (self.poles.imag != 0) & self.paired

    @cached_property
    def all(self) -> PoleResidue:
        """Return it with the conjugates written out behind."""
        return replace(
            self, poles=self.mirror(self.poles), B=self.mirror(self.B), C=self.mirror(self.C.T).T, paired=False
        )

    def mirror(self, values: Complex[np.ndarray, "slots ..."]) -> Complex[np.ndarray, "order ..."]:
        """Append the conjugates of what belongs to pairs."""
        return np.concatenate([values, values[self.pairs].conj()])

    @property
    def margin(self) -> float:
        """Distance of the worst pole from the stability border; negative outside."""
        return float(np.min(1 - np.abs(self.poles) if self.discrete else -self.poles.real))

    def response(self, derivatives: int = 0) -> tuple[Complex[np.ndarray, "slots p m"], ...]:
        """F_r, F_r′, … at w = λ̄ of each slot."""
        whole = self.all
        x, y = self.poles.conj()[:, None], whole.poles
        weights = (kernel(x, y, self.discrete), *kernel_slopes(x, y, self.discrete)[:2])
        return tuple((whole.C * weight[:, None, :]) @ whole.B for weight in weights[: derivatives + 1])

    def gain(self, F: Complex[np.ndarray, "slots p m"]) -> tuple[float, float]:
        """‖G − G_r‖² − ‖G‖² = ‖G_r‖² − 2 Re⟨G_r, G⟩, with the rounding in it, from F of the full system at λ̄."""
        terms = np.einsum("pi,ipm,im->i", self.C.conj(), self.response()[0] - 2 * F, self.B.conj()).real
        sizes = np.linalg.norm(self.C, axis=0) * np.linalg.norm(self.B, axis=1) * np.linalg.norm(F, axis=(1, 2))
        if self.discrete:
            sizes = sizes / (1 - np.abs(self.poles) ** 2)  # digits that 1 − x y loses next to the unit circle
        weight = np.where(self.pairs, 2, 1)
        return float(weight @ terms), 16 * np.finfo(float).eps * float(weight @ sizes)

    def apart(self, other: PoleResidue) -> float:
        """‖G_r − G_s‖² for another one with the same poles, from the differences of residues: they may be huge."""
        mine, theirs = (np.einsum("pi,im->ipm", model.C, model.B) for model in (self, other))
        change, poles = self.mirror(mine - theirs), self.all.poles
        k = kernel(poles.conj()[:, None], poles, self.discrete)
        return float(np.einsum("ipm,ij,jpm->", change.conj(), k, change, optimize=True).real)

    def with_best_outputs(self, F: Complex[np.ndarray, "slots p m"]) -> PoleResidue:
        """E(λ̄_i) b̄_i = 0: the C that is best for these poles and rows b, by least squares in closed form."""
        whole = self.all
        K = kernel(whole.poles.conj()[:, None], whole.poles, self.discrete) * (whole.B.conj() @ whole.B.T)
        right = self.mirror(np.einsum("ipm,im->ip", F, self.B.conj()))  # (r, p)
        return replace(self, C=self._real_where_real(_solve_gram(K, right)[: self.poles.size]).T)

    def with_best_inputs(self, F: Complex[np.ndarray, "slots p m"]) -> PoleResidue:
        """c_iᴴ E(λ̄_i) = 0: the B that is best for these poles and columns c."""
        whole = self.all
        K = kernel(whole.poles.conj()[:, None], whole.poles, self.discrete) * (whole.C.conj().T @ whole.C)
        right = self.mirror(np.einsum("pi,ipm->im", self.C.conj(), F))
        return replace(self, B=self._real_where_real(_solve_gram(K, right)[: self.poles.size]))

    def to_system(self, D: Float[np.ndarray, "p m"], dt: float) -> StateSpace:
        """Return it as a dense system, real if paired, with rows of B as long as columns of C."""
        length = np.linalg.norm(self.B, axis=1), np.linalg.norm(self.C, axis=0)
        scale = np.sqrt(
            np.where(length[0] * length[1] > 0, length[1], 1) / np.where(length[0] * length[1] > 0, length[0], 1)
        )
        B, C = self.B * scale[:, None], self.C / scale
        if not self.paired:
            return StateSpace(np.diag(self.poles), B, C, D.astype(complex), dt)
        A = np.zeros((self.all.poles.size,) * 2)
        rows: list[np.ndarray] = []
        columns: list[np.ndarray] = []
        for slot, pole in enumerate(self.poles):
            k = len(rows)
            A[k, k] = pole.real
            rows.append(B[slot].real)
            columns.append(C[:, slot].real)
            if pole.imag:
                A[k : k + 2, k : k + 2] = [[pole.real, -pole.imag], [pole.imag, pole.real]]
                rows.append(B[slot].imag)
                columns[-1:] = [2 * C[:, slot].real, -2 * C[:, slot].imag]
        return StateSpace(A, np.array(rows), np.array(columns).T, D, dt)

    def _real_where_real(self, rows):
        return np.where(self.pairs[:, None], rows, rows.real) if self.paired else rows


def best_outputs(model: PoleResidue, full: MirroredResponse) -> PoleResidue:
    """Return the model with the C that is best for its poles and rows b."""
    return model.with_best_outputs(full(model.poles.conj())[0])


def _solve_gram(K, right):
    """Solve with a Gram matrix scaled to unit diagonal; directions below rounding are left out."""
    scale = np.sqrt(np.maximum(np.diag(K).real, np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(K / scale / scale[:, None])
    seen = values > np.finfo(float).eps * values.size * values[-1]
    inverse = np.where(seen, 1 / np.where(seen, values, 1), 0)
    return vectors @ (inverse[:, None] * (vectors.conj().T @ (right / scale[:, None]))) / scale[:, None]


def _apart(poles, discrete, paired):
    """Move poles that coincide apart: by 1e-4 of their distance to the border, which a refinement undoes if need be."""
    poles = poles.astype(complex)
    margin = 1 - np.abs(poles) if discrete else -poles.real
    for i in range(1, poles.size):
        step = 1e-4 * max(margin[i], 0)
        if paired and poles[i].imag < 0:
            poles[i] = poles[i - 1].conj()  # LAPACK returns the pairs together
        while np.any(np.abs(poles[:i] - poles[i]) < step / 2):
            poles[i] -= step if not discrete else step * (np.sign(poles[i].real) or 1)
    return poles
