"""What is known about a proposed cut before anything is touched, and what is too much."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import OptionError


@dataclass(frozen=True)
class Certificate:
    """The evidence for one proposed cut.

    Parameters
    ----------
    error_bound
        A-priori bound on the H∞ error, None where the balancing has none.
    hinf_error
        Largest gain of the error system at the frequencies of its poles: the H∞ error from below.
    output_error
        Root-mean-square error of the layer's output on held-out activations, relative to the output, computed with the
        parameters in the model's own precision.
    condition
        Condition number of the eigenvectors that made the reduced system diagonal.
    spectral_radius
        Of the projected system; poles on or outside the unit circle were pulled inside and the outputs refitted.
    """

    error_bound: float | None
    hinf_error: float
    output_error: float
    condition: float
    spectral_radius: float


@dataclass(frozen=True)
class Limits:
    """What a cut may cost; beyond it the cut is refused and the layer stays as it is.

    Parameters
    ----------
    output_error
        Largest relative output error on held-out activations.
    condition
        Largest condition number of the eigenvectors. In float32 the rounding of the reduced map is about 6e-8 times
        this, so the default leaves three digits.
    least_saving
        Smallest share of the states that a cut must remove to be worth it, as in CompreSSM.

    Raises
    ------
    OptionError
        If a limit is not positive, or the saving not in [0, 1).
    """

    output_error: float = 0.5
    condition: float = 1e4
    least_saving: float = 0.05

    def __post_init__(self) -> None:
        if not (self.output_error > 0 and self.condition > 0 and 0 <= self.least_saving < 1):
            msg = f"got {self}; want positive limits and least_saving in [0, 1)"
            raise OptionError(msg)

    def refusal(self, evidence: Certificate) -> str | None:
        """Say why the evidence speaks against the cut, or None if it does not."""
        if not evidence.condition <= self.condition:
            return f"eigenvectors have condition {evidence.condition:.2g}, more than {self.condition:.2g}"
        if not evidence.output_error <= self.output_error:
            return f"output error is {evidence.output_error:.3g} of the output, more than {self.output_error:.3g}"
        if evidence.error_bound is not None and not evidence.hinf_error <= evidence.error_bound * (1 + 1e-6):
            return f"H∞ error is {evidence.hinf_error:.3g}, more than its bound {evidence.error_bound:.3g}"
        return None
