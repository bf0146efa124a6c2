"""Whether a layer is cut: what its finding asks for is proposed, and held against the limits."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from .refinement import refined

if TYPE_CHECKING:
    from .adapters import Adapter
    from .analysis import Finding
    from .certificate import Limits
    from .evidence import Evidence
    from .ledger import Cut
    from .proposal import Proposal
    from .refinement import Refinement


def decide(
    kept: Cut,
    adapter: Adapter,
    finding: Finding,
    evidence: Evidence,
    refinement: Refinement | None,
    limits: Limits,
    spent: float,
) -> tuple[Cut, Proposal | None]:
    """Return the account of a layer, and its cut if that saves enough and the evidence does not speak against it.

    Parameters
    ----------
    kept
        The account if the layer stays as it is.
    adapter, finding, evidence
        Of the layer; it is untouched.
    refinement
        Of the proposed layer, if any.
    limits
        What a cut may cost.
    spent
        The sum of the output errors of the layer's cuts so far.

    Raises
    ------
    ReductionError
        If the layer has become unstable since it was measured.
    """
    if finding.slots > (1 - limits.least_saving) * adapter.d_state:
        return kept, None
    if not finding.plan.values.any():
        return replace(kept, status="refused", reason="nothing that the layer saw reaches its outputs"), None
    start = time.perf_counter()
    if kept.staleness:  # the layer has trained on since it was found stable
        adapter.check(evidence)
    proposal = adapter.propose(finding.plan, finding.slots, evidence)
    if refinement is not None:
        proposal = refined(refinement, adapter, proposal, evidence)
    refusal = limits.refusal(proposal.certificate, spent)
    cut = replace(
        kept,
        status="refused" if refusal else "cut",
        reason=refusal or kept.reason,
        after=kept.before if refusal else proposal.slots,
        seconds=kept.seconds + time.perf_counter() - start,
        **asdict(proposal.certificate),
    )
    return cut, None if refusal else proposal
