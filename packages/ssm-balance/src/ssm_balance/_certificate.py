"""What a reduction turned out to be worth: measured, not promised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .norms import GainBracket


@dataclass(frozen=True)
class RelativeError:
    """‖G⁻¹ (G − G_r)‖_∞ and its a priori bound.

    Parameters
    ----------
    bracket
        The norm, enclosed; the L∞ norm if G has zeros outside the stable region.
    bound
        What the method promised.
    rounding
        How much of the error may be rounding.
    """

    bracket: GainBracket
    bound: float
    rounding: float


@dataclass(frozen=True)
class Certificate:
    """The error system G − G_r as it is, beside what was promised of it.

    Parameters
    ----------
    method
        How the system was reduced.
    order, full_order
        The states of the reduced system and of the full one.
    hinf
        ‖G − G_r‖_∞, enclosed. Where the full system is too large for dense matrices a diagonal one is enclosed through
        a model between, whose own distance rests on its a priori bound; of any other one the upper end is infinite.
        Where the full system is unstable it is the L∞ norm.
    h2
        ‖G − G_r‖₂; infinite where the error is unstable, or has a feedthrough in continuous time; NaN where it is out
        of reach.
    error_bound
        The a priori bound of the H∞ error; infinite if the method has none.
    rounding
        How much of the measured error may be rounding: eps (n σ₁ + 16 s), where s is the change of the gain at the
        peak per relative change of A, ‖A‖ ‖C (sE − A)⁻¹‖ ‖(sE − A)⁻¹ B‖, of the full or the reduced system, whichever
        is larger. The 16 stands for the roundings of A in the factors, the projection and both responses.
    rtol
        The width of the bracket.
    dc_error
        ‖G − G_r‖ at frequency zero.
    margin
        How far inside the poles of the reduced system are: −max Re λ in 1/s, or 1 − max |λ|; negative if unstable.
    condition
        Of the eigenvectors of the reduced A, of unit length: by so much rounding is amplified in its diagonal form.
    relative
        The relative error, of methods that bound it.
    """

    method: str
    order: int
    full_order: int
    hinf: GainBracket
    h2: float
    error_bound: float
    rounding: float
    rtol: float
    dc_error: float
    margin: float
    condition: float
    relative: RelativeError | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the H∞ error is within its bound, up to rtol and rounding.

        None if there is no bound, or if the bracket does not decide it.
        """
        return _is_within(self.hinf, self.error_bound, self.rounding, self.rtol)

    @property
    def relative_holds(self) -> bool | None:
        """Whether the relative error is within its bound; None also if it was not measured."""
        if self.relative is None:
            return None
        return _is_within(self.relative.bracket, self.relative.bound, self.relative.rounding, self.rtol)

    @property
    def is_stable(self) -> bool:
        """Whether every pole of the reduced system decays."""
        return self.margin > 0

    def __str__(self) -> str:
        rows = [
            ("H∞ error", self._measured()),
            ("bound", _verdict(self.error_bound, self.holds, self.hinf)),
            *self._relative_rows(),
            ("H2 error", f"{self.h2:.4g}"),
            ("DC gain error", f"{self.dc_error:.4g}"),
            ("stability margin", f"{self.margin:.4g}" + ("" if self.is_stable else ": UNSTABLE")),
            ("eigenvector condition", f"{self.condition:.3g}"),
        ]
        title = f"{self.method}: order {self.order} of {self.full_order}"
        return "\n".join([title, *(f"  {name:<22}{value}" for name, value in rows)])

    def _measured(self):
        where = f"at {self.hinf.frequency:.4g} rad/s"
        if math.isinf(self.hinf.upper):
            return f"≥ {self.hinf.lower:.4g} {where}, seen from below: no upper end is known"
        width = self.hinf.upper / self.hinf.lower - 1 if self.hinf.lower > 0 else self.rtol
        if width <= 2 * self.rtol:
            return f"{self.hinf.lower:.4g} {where}, certified to {self.rtol:.0e}"
        return f"{self.hinf.lower:.4g} {where}, at most {self.hinf.upper:.4g}, through a larger model"

    def _relative_rows(self):
        if self.relative is None:
            return ()
        found = f"{self.relative.bracket.lower:.4g} at {self.relative.bracket.frequency:.4g} rad/s"
        verdict = _verdict(self.relative.bound, self.relative_holds, self.relative.bracket)
        return ("relative error", found), ("bound", verdict)


def _is_within(bracket, bound, rounding, rtol):
    if not math.isfinite(bound):
        return None
    limit = bound * (1 + rtol) + rounding
    if bracket.lower > limit:
        return False
    return True if bracket.upper <= limit * (1 + rtol) else None


def _verdict(bound, holds, bracket):
    if not math.isfinite(bound):
        return "none"
    word = {True: "holds", False: "BROKEN", None: "not contradicted"}[holds]
    return f"{bound:.4g}: {word}" + (" up to rounding" if holds and bracket.lower > bound else "")
