"""The norms of a batch are those of its members."""

from dataclasses import astuple

import numpy as np
import pytest

import ssm_balance as sb
from ssm_balance._host import members

NORMS = {
    "h2_norm": sb.h2_norm,
    "hankel_norm": sb.hankel_norm,
    "hinf_norm": sb.hinf_norm,
    "hinf_bracket": sb.hinf_bracket,
    "linf_bracket": lambda system: sb.linf_bracket(system, (0.1, 2.0)),
    "horizon_gain": lambda system: sb.horizon_gain(system, 7),
    "peak_to_peak_bracket": sb.peak_to_peak_bracket,
}


@pytest.mark.parametrize("kind", ["dense", "diagonal", "paired"])
@pytest.mark.parametrize("name", NORMS)
def test_a_batch_equals_a_loop(make_system, name, kind):
    batch = make_system(kind, dt=1.0, batch=(2, 2))

    found = NORMS[name](batch)

    for index, member in zip(np.ndindex(2, 2), members(batch), strict=True):
        alone = NORMS[name](member)
        if hasattr(alone, "lower"):
            assert tuple(part[index] for part in astuple(found)) == pytest.approx(astuple(alone), rel=1e-9)
            assert all(isinstance(part, float) for part in astuple(alone))
        else:
            assert found[index] == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("name", NORMS)
def test_tensors_are_taken(make_system, name):
    torch = pytest.importorskip("torch")
    batch = make_system("dense", dt=1.0, batch=(2,))

    parts = {part: torch.tensor(getattr(batch, part)) for part in "ABCD"}
    found = NORMS[name](type(batch)(**parts, dt=1.0))

    expected = NORMS[name](batch)
    ends = (found.lower, expected.lower) if hasattr(found, "lower") else (found, expected)
    assert np.allclose(*ends, rtol=1e-9)
