"""What a cut leaves behind on paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["cut", "kept", "refused"]


@dataclass(frozen=True)
class Cut:
    """One layer at one reduction: what was measured, decided and achieved.

    Parameters
    ----------
    step
        Training steps done before it.
    layer
        Name of the layer in the model.
    status
        "cut"; "kept" if the selection asked for (nearly) all states; "refused" if the evidence spoke against it.
    reason
        Why, in words.
    before, after
        State slots (complex modes) before and after.
    hsv
        Hankel singular values of the layer in the chosen balancing, descending, two to a slot.
    seconds
        Time it took to work out the cut.
    staleness
        Training steps between the moment that was measured and the cut: 0 unless the reducer works beside the training.
    hsv_after
        Those of the layer it became; empty unless cut.
    error_bound
        A-priori bound on the H∞ norm of the white-noise error; None where the balancing has none.
    hinf_error
        Largest gain of the error system at the frequencies of its poles: the H∞ error from below.
    output_error
        Error of the layer's output on activations that the balancing has not seen, relative to the output.
    condition
        Condition number of the eigenvectors by which the reduced system was made diagonal.
    spectral_radius
        Of the reduced system, before poles were pulled inside.
    unrefined_error
        Output error before a refinement that lowered it.
    loss_before, loss_after
        Loss on the current mini-batch around the whole reduction (all layers); None if no loss was given.
    """

    step: int
    layer: str
    status: Status
    reason: str
    before: int
    after: int
    hsv: list[float]
    seconds: float
    staleness: int = 0
    hsv_after: list[float] = field(default_factory=list)
    error_bound: float | None = None
    hinf_error: float | None = None
    output_error: float | None = None
    condition: float | None = None
    spectral_radius: float | None = None
    unrefined_error: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None


def spent(ledger: Iterable[Cut], layer: str) -> float:
    """Return the sum of the output errors of the cuts that were made of a layer."""
    return sum(cut.output_error or 0.0 for cut in ledger if cut.layer == layer and cut.status == "cut")
