"""The H2 error near a model, to second order in its poles and residues."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ._mirrored import kernel, kernel_slopes
from ._pole_residue import PoleResidue

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from ._mirrored import MirroredResponse


@dataclass(frozen=True, eq=False)
class Quadratic:
    """‖E‖² − 2 gᵀx + xᵀ H x in the real parameters x, each scaled so that its direction in H2 has length one.

    Parameters
    ----------
    gradient
        g: inner products of the error with unit directions; zero at an optimum.
    hessian
        H; the identity on the diagonal where the error is small.
    scale
        Divide x by it to come back to the parameters.
    """

    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    scale: Float[np.ndarray, " k"]

    def step(self, damping: float) -> tuple[Float[np.ndarray, " k"], float]:
        """(|H| + μ I)⁻¹ g, downhill also where H is indefinite, and the decrease that it promises."""
        values, vectors = np.linalg.eigh(self.hessian)
        along = vectors.T @ self.gradient
        size = np.abs(values) + max(damping, np.finfo(float).eps * values.size) * max(np.abs(values).max(), 1e-300)
        x = along / size
        return vectors @ x / self.scale, float(2 * along @ x - x @ (values * x))


def quadratic(model: PoleResidue, full: MirroredResponse) -> Quadratic:
    """Expand ‖G − G_r‖² about a model: Gauss-Newton part from Cauchy sums, the rest from E, E′, E″ at λ̄."""
    E = [F - F_r for F, F_r in zip(full(model.poles.conj(), 2), model.response(2), strict=True)]
    g, S = _curvature(model.all, [model.mirror(X) for X in E])
    T = _real_parameters(model, g.size)
    M = (T.conj().T @ _tangents(model.all) @ T).real
    H = M - (T.conj().T @ S @ T.conj()).real
    squares, info = np.diag(M), np.finfo(float)
    least = max(info.eps**2 * squares.max(), info.tiny**0.5)  # a mode that is not read has no length, H not always none
    scale = np.sqrt(np.maximum(squares, least))
    return Quadratic((T.conj().T @ g).real / scale, H / scale / scale[:, None], scale)


def moved(model: PoleResidue, x: Float[np.ndarray, " k"]) -> PoleResidue:
    """Return the model at other parameters."""
    width = 1 + model.B.shape[1] + model.C.shape[0]
    change, start = np.zeros((model.poles.size, width), dtype=complex), 0
    doubled = model.pairs | (not model.paired)
    count = width * model.poles.size
    change += x[:count].reshape(model.poles.size, width)
    change[doubled] += 1j * x[count:].reshape(-1, width)
    start = 1 + model.B.shape[1]
    return replace(
        model,
        poles=model.poles + change[:, 0],
        B=model.B + change[:, 1:start],
        C=model.C + change[:, start:].T,
    )


def _tangents(model: PoleResidue) -> Complex[np.ndarray, "k k"]:
    """⟨∂_k G_r, ∂_l G_r⟩ for the parameters (λ, b, c) of each pole in turn."""
    (r, m), p = model.B.shape, model.C.shape[0]
    x, y = model.poles.conj()[:, None], model.poles
    k = kernel(x, y, model.discrete)
    kx, _, kxy = kernel_slopes(x, y, model.discrete)
    cc, bb = model.C.conj().T @ model.C, model.B.conj() @ model.B.T
    M = np.zeros((r, 1 + m + p, r, 1 + m + p), dtype=complex)
    inputs, outputs = slice(1, 1 + m), slice(1 + m, None)
    M[:, 0, :, 0] = cc * bb * kxy
    M[:, 0, :, inputs] = (cc * kx)[:, :, None] * model.B.conj()[:, None, :]
    M[:, 0, :, outputs] = (bb * kx)[:, :, None] * model.C.conj().T[:, None, :]
    M[:, inputs, :, inputs] = (cc * k)[:, None, :, None] * np.eye(m)[None, :, None, :]
    M[:, outputs, :, outputs] = (bb * k)[:, None, :, None] * np.eye(p)[None, :, None, :]
    M[:, inputs, :, outputs] = np.einsum("ij,li,jk->ikjl", k, model.C.conj(), model.B)
    M[:, inputs, :, 0] = M[:, 0, :, inputs].transpose(1, 2, 0).conj()
    M[:, outputs, :, 0] = M[:, 0, :, outputs].transpose(1, 2, 0).conj()
    M[:, outputs, :, inputs] = M[:, inputs, :, outputs].transpose(2, 3, 0, 1).conj()
    return M.reshape(r * (1 + m + p), -1)


def _curvature(model, E):
    """⟨∂_k G_r, E⟩ and ⟨∂_k ∂_l G_r, E⟩, which couples the parameters of one pole only."""
    (r, m), p = model.B.shape, model.C.shape[0]
    values = [np.einsum("pi,ipm,im->i", model.C.conj(), X, model.B.conj()) for X in E]
    by_input = [np.einsum("pi,ipm->im", model.C.conj(), X) for X in E[:2]]
    by_output = [np.einsum("ipm,im->ip", X, model.B.conj()) for X in E[:2]]
    g = np.concatenate([values[1][:, None], by_input[0], by_output[0]], axis=1)
    S = np.zeros((r, 1 + m + p, r, 1 + m + p), dtype=complex)
    for i in range(r):
        block = np.zeros((1 + m + p, 1 + m + p), dtype=complex)
        block[0, 1 : 1 + m], block[0, 1 + m :], block[1 : 1 + m, 1 + m :] = by_input[1][i], by_output[1][i], E[0][i].T
        block += block.T
        block[0, 0] = values[2][i]
        S[i, :, i] = block
    return g.ravel(), S.reshape(g.size, g.size)


def _real_parameters(model, size):
    """T with (parameters and conjugates) = T x: real parts of every slot, then imaginary parts where there are any."""
    width = size // model.all.poles.size
    slots = model.poles.size
    doubled = np.repeat(model.pairs | (not model.paired), width)
    first = np.eye(slots * width)
    second = 1j * first[:, doubled]
    top = np.hstack([first, second])
    return np.vstack([top, top[np.repeat(model.pairs, width)].conj()])
