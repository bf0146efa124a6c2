"""Steps that Newton's method cannot take: a fixed-point step to new poles, and through a double pole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._mirrored import MirroredResponse
    from ._pole_residue import PoleResidue

_SPREADS = (2.0, 1.0, 0.3, 0.1)  # of the poles behind the double pole, in terms of those before it


def interpolated(model: PoleResidue, full: MirroredResponse) -> PoleResidue | None:
    """Poles of the system that meets F and F′ tangentially at every λ̄: a fixed point is an H2 optimum (TF-IRKA).

    References
    ----------
    C. Beattie, S. Gugercin, CDC (2012) 2190-2195, realisation by the Loewner pencil.
    """
    L, shifted, rows = _loewner(model, *(model.mirror(X) for X in full(model.poles.conj(), 1)))
    if model.paired:
        J = _real_basis(model)
        L, shifted, rows = (J @ L @ J.T).real, (J @ shifted @ J.T).real, (J @ rows).real
    found = _poles(L, shifted, model.discrete)
    if found is None:
        return None
    poles, vectors = found
    B = vectors.conj().T @ rows
    kept = poles.imag >= 0 if model.paired else np.ones(poles.shape, dtype=bool)
    C = np.ones((model.C.shape[0], int(kept.sum())))
    return replace(model, poles=poles[kept], B=B[kept], C=C).tidied()


def _loewner(model, F, slopes):
    """𝕃, 𝕃_s and the rows c_iᴴ F(w_i), at w = λ̄ of every pole, with right directions b̄ and left ones c̄."""
    whole, w = model.all, model.all.poles.conj()
    left, right = whole.C.conj(), whole.B.conj()
    lengths = np.linalg.norm(left, axis=0)
    left = left / np.where(lengths > 0, lengths, 1)
    forward = np.einsum("pi,jpm,jm->ij", left, F, right)  # c_iᴴ F(w_j) b̄_j
    backward = np.einsum("pi,ipm,jm->ij", left, F, right)
    own = np.einsum("pi,ipm,im->i", left, slopes, right)
    gaps = w[:, None] - w
    gaps, others = np.where(gaps == 0, 1, gaps), 1 - np.eye(w.size)
    L = (backward - forward) / gaps * others + np.diag(own)
    shifted = (w[:, None] * backward - w * forward) / gaps * others + np.diag(np.diag(forward) + w * own)
    return L, shifted, np.einsum("pi,ipm->im", left, F)


def crossings(model: PoleResidue) -> Iterator[PoleResidue]:
    """Two neighbouring real poles m ± h become a pair m ± i h′, and a pair two real poles; rows b are continued."""
    if not model.paired:
        return
    real = np.flatnonzero(~model.pairs)
    real = real[np.argsort(model.poles[real].real)]
    for i, j in pairwise(real):
        middle, half = (model.poles[i] + model.poles[j]) / 2, (model.poles[i] - model.poles[j]).real / 2
        if half == 0:
            continue
        sign = 1 if np.vdot(model.B[i], model.B[j]).real >= 0 else -1
        mean, slope = (model.B[i] + sign * model.B[j]) / 2, (model.B[i] - sign * model.B[j]) / (2 * half)
        for spread in _SPREADS:
            new = spread * abs(half)
            yield _exchanged(model, [i, j], [middle + 1j * new], [mean + 1j * new * slope])
    for i in np.flatnonzero(model.pairs):
        row = model.B[i] * np.exp(-0.5j * np.angle(np.sum(model.B[i] ** 2)))
        middle, half = model.poles[i].real, model.poles[i].imag
        for spread in _SPREADS:
            new = spread * half
            rows = [row.real + side * new * row.imag / half for side in (1, -1)]
            yield _exchanged(model, [i], [middle + new, middle - new], rows)


def _exchanged(model, old, poles, rows):
    C = np.ones((model.C.shape[0], len(poles)))
    return replace(
        model,
        poles=np.concatenate([np.delete(model.poles, old), poles]),
        B=np.concatenate([np.delete(model.B, old, axis=0), rows]),
        C=np.concatenate([np.delete(model.C, old, axis=1), C], axis=1),
    ).tidied()


def _real_basis(model):
    """Turn rows of a pair and of its conjugate into their real and imaginary parts, times √2."""
    slots, pairs = model.poles.size, np.flatnonzero(model.pairs)
    J = np.eye(slots + pairs.size, dtype=complex)
    for k, i in enumerate(pairs):
        J[[[i], [slots + k]], [i, slots + k]] = np.array([[1, 1], [-1j, 1j]]) / np.sqrt(2)
    return J


def _poles(L, shifted, discrete):
    """F_r(w) = R (𝕃_s − w 𝕃)⁻¹ Y has poles at w = −λ, or 1/λ; None if the pencil has lost rank."""
    pencil = (L, shifted) if discrete else (-shifted, L)
    poles, vectors, _ = eig(*pencil, left=True)
    if not (np.all(np.isfinite(poles)) and np.all(np.isfinite(vectors))):
        return None
    return poles, vectors
