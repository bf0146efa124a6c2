"""What is known about a proposed cut before anything is touched, and what is too much."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._errors import OptionError


@dataclass(frozen=True)
class Certificate:
    """The evidence for one proposed cut.

    Parameters
    ----------
    output_error
        Root-mean-square error of the layer's output on held-out activations, relative to the output, computed with the
        parameters in the model's own precision.
    error_bound
        A-priori bound on the H∞ error, None where the balancing has none.
    hinf_error
        Largest gain of the error system at the frequencies of its poles: the H∞ error from below; None where the layer
        is not linear and time-invariant, as for the next two.
    condition
        Condition number of the eigenvectors that made the reduced system diagonal.
    spectral_radius
        Of the projected system; poles on or outside the unit circle were pulled inside and the outputs refitted.
    unrefined_error
        Output error before a refinement that lowered it; None if there was none. The two errors of the system above
        are then of no use, and None too.
    """

    output_error: float
    error_bound: float | None = None
    hinf_error: float | None = None
    condition: float | None = None
    spectral_radius: float | None = None
    unrefined_error: float | None = None


@dataclass(frozen=True)
class Limits:
    """What a cut may cost; beyond it the cut is refused and the layer stays as it is.

    Parameters
    ----------
    output_error
        Largest relative output error on held-out activations.
    total_output_error
        Largest sum of a layer's output errors over all its cuts: the account of a run that cuts repeatedly.
    condition
        Largest condition number of the eigenvectors. In float32 the rounding of the reduced map is about 6e-8 times
        this, so the default leaves three digits.
    loss_increase
        Largest increase of the loss across a reduction, relative to the loss before; beyond it everything is put back.
        Only where the reducer is given the loss.
    least_saving
        Smallest share of the states that a cut must remove to be worth it, as in CompreSSM.

    Raises
    ------
    OptionError
        If a limit is not positive, or the saving not in [0, 1).
    """

    output_error: float = 0.5
    total_output_error: float = math.inf
    condition: float = 1e4
    loss_increase: float = math.inf
    least_saving: float = 0.05

    def __post_init__(self) -> None:
        positive = (self.output_error, self.total_output_error, self.condition, self.loss_increase)
        if not (all(limit > 0 for limit in positive) and 0 <= self.least_saving < 1):
            msg = f"got {self}; want positive limits and least_saving in [0, 1)"
            raise OptionError(msg)

    def refusal(self, evidence: Certificate, spent: float = 0.0) -> str | None:
        """Say why the evidence speaks against the cut, or None if it does not.

        Parameters
        ----------
        evidence
            Of the cut.
        spent
            The sum of the output errors of the layer's cuts so far.
        """
        if evidence.condition is not None and not evidence.condition <= self.condition:
            return f"eigenvectors have condition {evidence.condition:.2g}, more than {self.condition:.2g}"
        if math.isnan(evidence.output_error):
            return "output error is no number: the outputs on held-out activations are zero, or became none"
        if not evidence.output_error <= self.output_error:
            return f"output error is {evidence.output_error:.3g} of the output, more than {self.output_error:.3g}"
        if not evidence.output_error + spent <= self.total_output_error:
            total = f"{spent:.3g} + {evidence.output_error:.3g}"
            return f"output errors of all cuts add up to {total}, more than {self.total_output_error:.3g}"
        bound, error = evidence.error_bound, evidence.hinf_error
        if bound is not None and error is not None and not error <= bound * (1 + 1e-6):
            return f"H∞ error is {error:.3g}, more than its bound {bound:.3g}"
        return None

    def loss_refusal(self, before: float | None, after: float | None) -> str | None:
        """Say why the loss speaks against the cuts that it was measured around, or None if it does not.

        Parameters
        ----------
        before, after
            None if it was not measured.
        """
        if before is None or after is None:
            return None
        if not math.isfinite(after):
            return f"the loss became {after} (it was {before:.4g}): all layers were put back"
        if after - before > self.loss_increase * abs(before):
            limit = f"more than {self.loss_increase:.3g} of it"
            return f"the loss rose from {before:.4g} to {after:.4g}, {limit}: all layers were put back"
        return None
