"""Certificates and norms on the SLICOT and the steel rail systems."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_array

from ssm_balance import balanced_truncation, hankel_norm, hinf_bracket, peak_gain
from ssm_gramians import StateSpace

FOLDER = Path(os.environ.get("SSM_ZOO_DATA", ""))

pytestmark = pytest.mark.skipif(
    "SSM_ZOO_DATA" not in os.environ, reason="SSM_ZOO_DATA does not name a folder with slicot/NAME.npz"
)


def load(name):
    """Return the system, sparse where the file is, and the arrays of the file."""
    with np.load(FOLDER / f"{name}.npz") as file:
        found = dict(file)

    def matrix(key):
        if f"{key}_data" not in found:
            return found.get(key)
        parts = (found[f"{key}_{part}"] for part in ("data", "indices", "indptr"))
        return csc_array(tuple(parts), shape=tuple(found[f"{key}_shape"]))

    dt = 1.0 if name.endswith("disc") else 0.0
    return StateSpace(matrix("A"), matrix("B"), matrix("C"), dt=dt, E=matrix("E")), found


@pytest.mark.parametrize("name", ["build", "pde", "heat-cont", "random"])
def test_the_gain_is_that_of_the_reference_response(name):
    system, reference = load(f"slicot/{name}")

    gain = peak_gain(system.to_dense(), reference["w"].ravel())[0]

    assert gain == pytest.approx(abs(reference["mag"]).max(), rel=1e-6)
    assert gain <= hinf_bracket(system.to_dense()).upper
    assert gain <= peak_gain(system.to_dense())[0] * (1 + 1e-9)


@pytest.mark.parametrize("name", ["build", "pde", "heat-cont", "heat-disc", "random"])
@pytest.mark.parametrize("order", [1, 6, "all"])
def test_the_bound_of_balanced_truncation_holds(name, order):
    system, reference = load(f"slicot/{name}")
    system = system.to_dense()

    found = balanced_truncation(system, system.order if order == "all" else order).certify()

    assert found.holds
    assert found.is_stable
    assert found.hinf.lower >= reference["hsv"].ravel()[found.order :].max(initial=0) * (1 - 1e-6) - found.rounding


def test_hankel_norms_are_the_reference_values():
    for name in ("build", "heat-cont"):
        system, reference = load(f"slicot/{name}")

        assert hankel_norm(system.to_dense()) == pytest.approx(reference["hsv"].max(), rel=1e-9)


def test_a_sparse_system_is_measured_like_the_dense_one():
    sparse, _ = load("rail/rail_371")
    reduction = dataclasses.replace(balanced_truncation(sparse.to_dense(), 12), full=sparse)

    enclosed, seen = reduction.certify(), reduction.certify(dense_limit=100)

    assert enclosed.holds
    assert seen.holds is None
    assert enclosed.hinf.lower * 0.99 <= seen.hinf.lower <= enclosed.hinf.upper * (1 + 1e-6)
    assert seen.h2 == pytest.approx(enclosed.h2, rel=1e-4)
