"""Parameters of a layer, which want gradients, can be measured and reduced as they are."""

import numpy as np
import pytest

import ssm_balance as sb
from ssm_gramians import Diagonal, StateSpace

torch = pytest.importorskip("torch")

MEASURES = {
    "h2_norm": sb.h2_norm,
    "hankel_norm": sb.hankel_norm,
    "hinf_norm": sb.hinf_norm,
    "peak_gain": sb.peak_gain,
    "linf_bracket": lambda system: sb.linf_bracket(system).lower,
    "horizon_gain": lambda system: sb.horizon_gain(system, 5).lower,
    "peak_to_peak_bracket": lambda system: sb.peak_to_peak_bracket(system).lower,
    "certify": lambda system: sb.balanced_truncation(system, 4).certify().hinf.lower,
    "refine_h2": lambda system: sb.refine_h2(system, sb.balanced_truncation(system, 4).system).after,
    "split_stable": lambda system: sb.split_stable(system).condition,
    "diagonalize": lambda system: sb.diagonalize(system, tolerance=1e-5).condition,
}


def layer(kind, make_system):
    """Return a system of parameters, and the same one in NumPy arrays."""
    plain = make_system(kind, dt=1.0)

    def parameter(array):
        return torch.tensor(np.array(array), requires_grad=True)

    A = plain.A.map(parameter) if isinstance(plain.A, Diagonal) else parameter(plain.A)
    return StateSpace(A, parameter(plain.B), parameter(plain.C), parameter(plain.D), 1.0), plain


@pytest.mark.parametrize("kind", ["dense", "paired"])
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_needs_no_detaching(name, kind, make_system):
    learned, plain = layer(kind, make_system)

    found = MEASURES[name](learned)

    assert found == pytest.approx(MEASURES[name](plain), rel=1e-6)
    assert learned.B.requires_grad


def test_what_is_refined_is_a_tensor(make_system):
    learned, _ = layer("dense", make_system)

    start = sb.balanced_truncation(learned, 4).system
    refined = sb.refine_h2(learned, start)
    stopped = sb.refine_h2(learned, start, max_steps=0)

    assert torch.is_tensor(refined.system.A)
    assert torch.is_tensor(stopped.system.A)


def test_a_truncated_layer_can_be_learned_through(make_system):
    learned, _ = layer("paired", make_system)

    small = sb.balanced_truncation(learned, 4).system
    (small.C @ small.B).square().sum().backward()

    assert torch.isfinite(torch.view_as_real(learned.A.eigenvalues.grad)).all()
    assert learned.B.grad.abs().max() > 0
