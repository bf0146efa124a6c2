"""A batch of paired diagonal systems: balanced truncation, then the reduced systems in diagonal form again.

64 slots, 128 real states, cut to 24. Ours is two calls for the whole batch, with every check that they make, on Numba's
loops ("ours") and on NumPy's and LAPACK's alone ("ours, default"). Peers are loops over dense systems that are built
before the clock starts: SLICOT's ab09ad, or pyMOR's reductor, and NumPy's eigenvectors of the reduced A. pyMOR is given
few members, and then all are. Ours uses as many threads as Numba has (NUMBA_NUM_THREADS), peers' BLAS as many as
OMP_NUM_THREADS says. Beside the time: the worst error over its bound, on the unit circle, and the worst difference from
the map of `ab09ad`, relative to the largest gain.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import ssm_balance as sb
import ssm_gramians as sg

SLOTS, ORDER = 64, 24
POINTS = np.exp(1j * np.linspace(0, np.pi, 400))
HAS_SLYCOT, HAS_PYMOR = (find_spec(name) is not None for name in ("slycot", "pymor"))


def drawn(members):
    """Draw stable systems with one input and one output, their poles spread over the upper half of the disc."""
    rng = np.random.default_rng(0)
    radius, angle = 0.9 + 0.099 * rng.random((members, SLOTS)), rng.uniform(0, np.pi, (members, SLOTS))
    B, C = rng.standard_normal((2, members, SLOTS)) + 1j * rng.standard_normal((2, members, SLOTS))
    return sg.StateSpace(sg.Diagonal(radius * np.exp(1j * angle), True), B[..., None], C[..., None, :], dt=1.0)


def ours(system, backend):
    """Truncate a batch and return it in diagonal form."""
    return sb.diagonalize(sb.balanced_truncation(system, ORDER, backend=backend).system).system


def slycot_loop(members):
    """Truncate one member after the other with SLICOT; return the reduced matrices and the eigenvectors of each A."""
    from slycot import ab09ad

    found = []
    for A, B, C in members:
        _, A, B, C, _ = ab09ad("D", "B", "N", len(A), 1, 1, A.copy(), B.copy(), C.copy(), nr=ORDER)
        found.append((A[:ORDER, :ORDER], B[:ORDER], C[:, :ORDER], np.linalg.eig(A[:ORDER, :ORDER])))
    return found


def pymor_loop(models):
    """Truncate one member after the other with pyMOR, which knows nothing of the others' Gramians either."""
    from pymor.reductors.bt import BTReductor

    found = []
    for model in models:
        A, B, C, _, E = BTReductor(model.with_()).reduce(ORDER).to_matrices()  # balancing-free, so with an E
        A, B = (A, B) if E is None else (np.linalg.solve(E, A), np.linalg.solve(E, B))
        found.append((A, B, C, np.linalg.eig(A)))
    return found


def pymor_models(members):
    """Return an `LTIModel` of each, their log silenced."""
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel

    set_log_levels({"pymor": "CRITICAL"})
    return [LTIModel.from_matrices(*matrices, sampling_time=1.0) for matrices in members]


def gains(found):
    """Return the response of each member at the points."""
    if not isinstance(found, sg.StateSpace):
        A, B, C = (np.array(matrices) for matrices in list(zip(*found, strict=True))[:3])
        found = sg.StateSpace(A, B, C, dt=1.0)
    return found.transfer_function(POINTS)[..., 0, 0]


def facts_of(calls, system):
    """Return what each contestant's answer is worth."""
    full, bound = gains(system), sb.balanced_truncation(system, ORDER).error_bound
    answers = {name: gains(call()) for name, call in calls.items() if call is not None}
    first, largest = answers.get("slycot loop"), np.abs(full).max(axis=-1)
    facts = {}
    for name, G in answers.items():
        facts[name] = {"error / bound": float(np.max(np.abs(G - full).max(axis=-1) / bound))}
        if first is not None:
            facts[name]["from ab09ad"] = float(np.max(np.abs(G - first).max(axis=-1) / largest))
    return facts


@pytest.mark.parametrize("members", [16, 256])
def test_truncate_and_diagonalize(race, members):
    """Reduce all members to one order."""
    system = drawn(members)
    dense = system.to_dense()
    matrices = list(zip(dense.A, dense.B, dense.C, strict=True))
    ready = [tuple(np.asfortranarray(M) for M in three) for three in matrices]
    models = pymor_models(matrices) if HAS_PYMOR and members <= 16 else None
    contestants = {
        "ours": lambda: ours(system, "numba"),
        "ours, default": lambda: ours(system, None),
        "slycot loop": (lambda: slycot_loop(ready)) if HAS_SLYCOT else None,
        "pyMOR loop": (lambda: pymor_loop(models)) if models else None,
    }
    facts = facts_of(contestants, system)
    race(f"truncate {members} paired systems, n={SLOTS}, to {ORDER}", contestants, facts, rounds=5)
