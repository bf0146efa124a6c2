"""An empty batch has no order, no bound and no norm: what takes systems says so; arrays follow arrays."""

from dataclasses import replace

import numpy as np
import pytest

import ssm_balance as sb
from ssm_gramians import Diagonal, ShapeError, StateSpace

NONE = StateSpace(np.zeros((0, 4, 4)), np.zeros((0, 4, 1)), np.zeros((0, 1, 4)))
ONE = StateSpace(-np.eye(1), np.eye(1), np.eye(1))
WIDE = StateSpace(np.zeros((3, 0, 4, 4)), np.zeros((3, 0, 4, 1)), np.zeros((3, 0, 1, 4)))

ANALYSES = {
    "hankel_singular_values": sb.hankel_singular_values,
    "h2_norm": sb.h2_norm,
    "hankel_norm": sb.hankel_norm,
    "hinf_norm": sb.hinf_norm,
    "hinf_bracket": sb.hinf_bracket,
    "linf_bracket": sb.linf_bracket,
    "peak_gain": sb.peak_gain,
    "estimate_peak_gain": lambda system: sb.estimate_peak_gain(replace(system, A=Diagonal(system.B[..., 0]))),
    "horizon_gain": lambda system: sb.horizon_gain(system, 4),
    "peak_to_peak_bracket": sb.peak_to_peak_bracket,
    "diagonalize": sb.diagonalize,
    "split_stable": sb.split_stable,
    "refine_h2": lambda system: sb.refine_h2(system, ONE),
}


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("system", [NONE, WIDE], ids=["0", "3x0"])
def test_what_takes_systems_refuses_none(name, system):
    with pytest.raises(ShapeError, match="batch"):
        ANALYSES[name](system)


def test_values_of_no_system_have_no_bounds():
    assert sb.error_bound(np.zeros((0, 4)), 2).shape == (0,)
    assert sb.hankel_error_bound(np.zeros((0, 4)), 2).shape == (0,)
    assert sb.relative_error_bound(np.zeros((0, 4)), 2).shape == (0,)


def test_no_system_has_no_share_of_a_budget():
    with pytest.raises(sb.OrderError, match="got no system"):
        sb.Budget(total=4).allocate([])
