"""Diagonal parameters that stay what they are when a layer stores them in float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, StateSpace

from ._defective import clusters
from ._mirrored import MirroredResponse
from ._pole_residue import PoleResidue
from .norms import peak_gain

if TYPE_CHECKING:
    from jaxtyping import Complex

    from ._eigenmodes import Modes

    Slots = Complex[np.ndarray, " slots"]

SPACINGS = (0.0, 1e-3, 2e-3, 5e-3, 5e-4, 1e-2, 2e-2, 2e-4, 4e-2, 1e-4, 8e-2)  # of clusters, the likely ones first
_SCALINGS = 48  # of each slot, of which the one is kept whose rounding happens to be kind

_GOLDEN = (np.sqrt(5) - 1) / 2
_SWEEPS = 5  # of least squares for B and for C in turn


@dataclass(frozen=True, eq=False)
class StoredModes:
    """Slots with parameters that float32 holds exactly, and what they make of the map.

    Parameters
    ----------
    model
        The slots.
    error
        ‖G − Ĝ‖_∞ / ‖G‖_∞.
    """

    model: PoleResidue
    error: float


class SinglePrecision:
    """The map of one stable dense system, and how well parameters in float32 reproduce it.

    Parameters
    ----------
    system
        Dense, stable.
    paired
        Whether it is real, and its modes slots.
    """

    def __init__(self, system: StateSpace, *, paired: bool):
        self.system, self.paired = system, paired
        self._response = MirroredResponse(system)
        self._gain = peak_gain(system)[0]

    def error(self, poles: Slots, B: Complex[np.ndarray, "slots m"], C: Complex[np.ndarray, "p slots"]) -> float:
        """‖G − Ĝ‖_∞ / ‖G‖_∞ of a diagonal system; a real slot counts twice if paired."""
        other = StateSpace(Diagonal(poles, self.paired), B, C, self.system.D, self.system.dt)
        gap = peak_gain(self.system, minus=other)[0]
        return gap / self._gain if self._gain > 0 else (0.0 if gap == 0 else np.inf)

    def rounded_error(self, modes: Modes) -> float:
        """Return the error when λ, B and C are simply rounded."""
        poles = rounded_poles(modes.values, discrete=self.system.is_discrete, paired=self.paired)
        return self.error(poles, *_single(modes.B, modes.C))

    def fitted(self, poles: Complex[np.ndarray, " slots"], B: Complex[np.ndarray, "slots m"]) -> StoredModes:
        """Round the poles, then B, then C, each time with the rest fitted in H2 to what has been rounded already."""
        discrete = self.system.is_discrete
        poles = rounded_poles(poles, discrete=discrete, paired=self.paired)
        F = self._response(poles.conj())[0]
        C = np.zeros((self.system.outputs, poles.size), dtype=complex)
        model = PoleResidue(poles, B, C, self.paired, discrete).tidied().with_best_outputs(F)
        for _ in range(_SWEEPS):
            model = model.with_best_inputs(F).tidied().with_best_outputs(F)
        model = _most_real(model).with_best_outputs(F)  # a fit loses digits to phases that are not exactly real
        trials = [self._rounded(model, trial, F) for trial in range(_SCALINGS)]
        best = min(trials, key=model.apart)
        return StoredModes(best, self.error(poles, best.B, self.slot_outputs(best)))

    def refusal(self, error: float, tolerance: float, condition: float) -> str:
        """Say what stands in the way: a pole too near the border, or poles too near to one another."""
        poles = self.system.poles()
        distance = 1 - np.abs(poles) if self.system.is_discrete else -poles.real
        groups = clusters(poles, 0.1 * distance)
        msg = f"parameters in float32 reproduce the map to {error:.1e} at best; want {tolerance:.1e}: "
        if groups:
            largest = max(groups, key=len)
            where = f"{len(largest)} poles near {poles[largest[0]]:.4g}"
            msg += f"{where} share their eigenvectors (condition {condition:.1e}) and their residues cancel; "
        else:
            worst = int(np.argmin(distance))
            where = f"the pole {poles[worst]:.6g} is {distance[worst]:.1e} from the border"
            msg += f"{where}, and rounding it moves the peak; "
        return msg + "keep another order, or store the layer in float64"

    def slot_outputs(self, model: PoleResidue) -> Complex[np.ndarray, "p slots"]:
        """Return C as a paired system has it: half where a slot is a real pole."""
        return model.C if not self.paired else np.where(model.pairs, model.C, model.C / 2)

    def _rounded(self, model, trial, F):
        """Scale rows of B to the length of columns of C, by another factor in each trial, turned in half, and round."""
        row, column = np.linalg.norm(model.B, axis=1), np.linalg.norm(model.C, axis=0)
        scale = np.sqrt(np.where(column > 0, column / row, 1))
        spread = np.modf((1 + np.arange(row.size)) * trial * _GOLDEN)[0]  # in [0, 1), the same in every run
        scale = scale * np.sqrt(2) ** spread
        if trial % 2:
            scale = scale * np.where(model.pairs | (not self.paired), np.exp(2j * np.pi * spread), 1)
        model = replace(model, B=_single(model.B * scale[:, None])[0]).with_best_outputs(F)
        return replace(model, C=_single(model.C)[0])


def rounded_poles(poles, *, discrete, paired):
    """Round log λ to float32, the modulus apart from the angle, as layers store it; λ in continuous time.

    What is real, and what has a positive imaginary part, stays so.
    """
    poles = poles.astype(complex)
    if not discrete:
        return _single(poles)[0]
    with np.errstate(divide="ignore"):
        modulus = np.exp(np.log(np.abs(poles)).astype(np.float32).astype(float))
    turned = modulus * np.exp(1j * np.angle(poles).astype(np.float32).astype(float))
    turned = turned.real + 1j * np.abs(turned.imag) if paired else turned
    return np.where(poles.imag == 0, modulus * np.sign(poles.real), turned)


def _single(*arrays):
    return tuple(array.astype(np.complex64).astype(complex) for array in arrays)


def _most_real(model):
    """Turn rows b of pairs towards real ones: then what a pair cannot afford to lose stands alone in Re c."""
    turn = np.where(model.pairs, np.exp(-0.5j * np.angle(np.sum(model.B**2, axis=1))), 1)
    return replace(model, B=model.B * turn[:, None], C=model.C / turn)
