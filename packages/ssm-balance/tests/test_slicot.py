"""The SLICOT benchmark examples, with the Hankel singular values that come with them."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import block_diag

from ssm_balance import balanced_truncation, difference, hankel_singular_values, hinf_bracket, hinf_norm
from ssm_balance.interop import load_slicot
from ssm_gramians import Diagonal, StateSpace

FOLDER = Path(os.environ.get("SSM_ZOO_DATA", "")) / "slicot"
NAMES = ("build", "pde", "heat-cont", "heat-disc", "random")
EPS = np.finfo(float).eps
# A pole of `random` is 0.01 from the axis and ‖A‖ is 1.5e4: rounding of A alone moves the peak by eps · 1.5e6 = 3e-10.
TOLERANCES = {"random": 1e-8}
# Where a file has no values, or wrong ones: the matrices of the file taken as exact, with 115 digits of python-flint.
# Gramians by squared Smith (of `random` after a Cayley transform, of `fom` from its partial fractions), pivoted
# Cholesky factors, eigenvalues. Down to σ/σ₁ = 1e-8.
EXACT = {
    "random": [
        8199419.1396419546,
        8199211.4250193741,
        175.10644280291155,
        165.28546431525323,
        22.093772156293681,
        10.877818335287644,
        8.4424060469740754,
        3.5424324207842811,
        3.1442020593932257,
        0.95727364212940201,
        0.83921452413857453,
        0.33258735181254923,
        0.11225666388762074,
    ],
    "heat-disc": [
        0.033397437576546292,
        0.0056368346593232243,
        0.0004894186050254045,
        0.00015801405546152989,
        5.1228080420012074e-5,
        1.3014852375282973e-5,
        2.09570928774702e-6,
        3.8215591481559649e-7,
        7.2106329932280807e-8,
        4.7541832850281089e-8,
        6.7201975332784315e-9,
        1.0914905380562138e-9,
    ],
    "fom": [
        50.050955923340855,
        49.995136362776484,
        49.992428502151263,
        49.970263570415648,
        49.967972554392120,
        49.947733719737690,
        2.1888002022372534,
        0.95680047351052112,
        0.34030592998848636,
        0.11137424493082192,
        0.035111750995249948,
        0.010741853900846073,
        0.0032024884141570839,
        0.00093294802710839155,
        0.00026607085086053336,
        7.4403706424840927e-5,
        2.0427284175475296e-5,
        5.5121816810219206e-6,
        1.4633398102896751e-6,
    ],
}
# What a value may be off, in units of eps σ₁. Rounding the entries of A and E of `heat-disc` once moves small values
# by 20 such units: a backward stable method can do no better.
ROUNDING = {"random": 1, "heat-disc": 20, "fom": 1}

pytestmark = pytest.mark.skipif(
    "SSM_ZOO_DATA" not in os.environ, reason="SSM_ZOO_DATA does not name a folder with slicot/NAME.npz"
)


def load(name):
    example = load_slicot(FOLDER / f"{name}.npz", dt=1.0 if name.endswith("disc") else 0.0)
    return example.system.to_dense(), example.hsv


@pytest.mark.parametrize("name", ["build", "pde", "heat-cont"])
def test_values_agree_with_the_reference(name):
    system, reference = load(name)
    seen = reference >= 1e-8 * reference[0]

    assert np.allclose(hankel_singular_values(system)[seen], reference[seen], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", sorted(EXACT))
def test_values_agree_with_exact_ones(name):
    exact = np.array(EXACT[name])

    found = hankel_singular_values(load(name)[0])[: exact.size]

    assert np.allclose(found, exact, rtol=1e-9, atol=ROUNDING[name] * EPS * exact[0])


@pytest.mark.parametrize(("name", "wrong"), [("random", {0, 1}), ("heat-disc", {9, 10, 11})])
def test_where_a_reference_is_wrong_ours_is_nearer(name, wrong):
    exact = np.array(EXACT[name])
    system, reference = load(name)

    ours, theirs = (np.abs(values[: exact.size] / exact - 1) for values in (hankel_singular_values(system), reference))

    assert set(np.flatnonzero(theirs > 1e-9)) == wrong
    assert all(ours[i] < theirs[i] / 4 for i in wrong)


def test_partial_fractions_of_fom_give_eleven_digits():
    system, _ = load("fom")
    A, b, c = system.A, system.B[:, 0], system.C[0]
    first = np.array([[1, 1], [1j, -1j]]) / np.sqrt(2)  # eigenvectors of [[a, w], [-w, a]] for a + iw and a - iw
    V = block_diag(first, first, first, np.eye(1000))
    poles = np.sum(V.conj() * (A @ V), axis=0)
    modes = StateSpace(Diagonal(poles), (V.conj().T @ b)[:, None], (c @ V)[None])

    found = hankel_singular_values(modes)[: len(EXACT["fom"])]

    assert np.allclose(found, EXACT["fom"], rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wish", [{"order": 4}, {"energy": 0.999}])
def test_measured_error_is_within_the_bound(name, wish):
    system, _ = load(name)

    reduction = balanced_truncation(system, **wish)

    assert hinf_bracket(difference(system, reduction.system)).upper <= reduction.error_bound * (1 + 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_full_order_reproduces_the_map(name):
    system, _ = load(name)

    reduction = balanced_truncation(system, system.order)

    assert hinf_bracket(difference(system, reduction.system)).upper <= TOLERANCES.get(name, 1e-10) * hinf_norm(system)
