import dataclasses

import numpy as np
import pytest
from scipy import sparse

from ssm_balance import (
    BalanceError,
    Certificate,
    GainBracket,
    Reduction,
    balanced_truncation,
    difference,
    h2_norm,
    hinf_bracket,
    hinf_norm,
)
from ssm_balance._enclosed_error import enclosed_error
from ssm_balance.norms._modal_energy import modal_h2_norm
from ssm_gramians import ConvergenceError, Diagonal, StateSpace

KINDS = ("dense", "complex", "diagonal", "paired")


def certificate(**changes):
    known = Certificate("truncation", 2, 4, GainBracket(1.0, 1 + 1e-8, 3.0), 0.5, 2.0, 1e-12, 1e-8, 0.1, 0.2, 5.0)
    return dataclasses.replace(known, **changes)


def gain(system, point):
    return np.linalg.norm(system.transfer_function(np.array([point]))[0], 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dt", [0.0, 0.5])
@pytest.mark.parametrize("order", [1, 3, 8])
def test_the_bound_of_balanced_truncation_holds(make_system, kind, dt, order):
    reduction = balanced_truncation(make_system(kind, dt=dt), order)

    found = reduction.certify()

    assert found.holds
    assert found.is_stable
    assert found.error_bound == reduction.error_bound


@pytest.mark.parametrize("kind", ["dense", "paired"])
@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_what_is_certified_is_what_is_measured_one_by_one(make_system, kind, dt):
    system = make_system(kind, dt=dt)
    reduction = balanced_truncation(system, 4)

    found = reduction.certify(rtol=1e-6)

    error, poles = difference(system, reduction.system), np.linalg.eigvals(reduction.system.A)
    assert found.hinf == hinf_bracket(error, rtol=1e-6)
    assert found.h2 == pytest.approx(h2_norm(error))
    assert found.dc_error == pytest.approx(gain(error, 1.0 if dt else 0.0), rel=1e-9)
    assert found.margin == pytest.approx(1 - abs(poles).max() if dt else -poles.real.max())
    assert found.condition == pytest.approx(np.linalg.cond(np.linalg.eig(reduction.system.A)[1]))
    assert (found.order, found.full_order, found.method) == (4, system.order, "balanced truncation")


def test_an_attained_bound_holds():
    system = StateSpace(np.diag([-1.0, -2.0]), np.ones((2, 1)), np.array([[1.0, 1.0]]))  # symmetric: 2σ₂ is the error

    found = balanced_truncation(system, 1).certify()

    assert found.holds
    assert found.hinf.lower == pytest.approx(found.error_bound, rel=1e-9)


def test_a_broken_bound_is_told_from_rounding(make_system):
    reduction = balanced_truncation(make_system(), 3)
    measured = reduction.certify().hinf.lower

    claims = [dataclasses.replace(reduction, error_bound=factor * measured) for factor in (1 - 1e-6, 1, 1 + 1e-6)]

    assert [claim.certify().holds for claim in claims] == [False, True, True]


def test_at_full_order_only_rounding_is_left(make_system):
    reduction = balanced_truncation(make_system(), 8)

    found = reduction.certify()

    assert found.holds
    assert found.error_bound == 0
    assert found.hinf.lower < 1e-10 * hinf_norm(reduction.full)
    assert "0: holds up to rounding" in str(found)


def test_without_a_bound_nothing_holds(make_system):
    reduction = dataclasses.replace(balanced_truncation(make_system(), 3), error_bound=np.inf)

    assert reduction.certify().holds is None


def test_a_batch_has_one_certificate_for_each_member(make_system):
    batch = make_system("paired", dt=1.0, batch=(2, 2))
    reduction = balanced_truncation(batch, 5)

    found = reduction.certify()

    assert len(found) == 4
    for certificate, index in zip(found, np.ndindex(2, 2), strict=True):
        A = Diagonal(batch.A.eigenvalues[index], True)
        alone = balanced_truncation(StateSpace(A, batch.B[index], batch.C[index], batch.D[index], 1.0), 5).certify()
        assert certificate.hinf.lower == pytest.approx(alone.hinf.lower, rel=1e-6)
        assert certificate.error_bound == pytest.approx(alone.error_bound)
        assert certificate.holds


@pytest.mark.parametrize("dt", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["diagonal", "paired", "sparse"])
def test_a_large_system_is_measured_from_below(make_system, kind, dt):
    system = make_system("dense" if kind == "sparse" else kind, dt=dt, n=12)
    system = StateSpace(system.A, system.B, system.C, dt=dt)
    reduction = balanced_truncation(system, 6)
    exact = reduction.certify()
    if kind == "sparse":
        E = sparse.diags_array(np.arange(1.0, 13.0))
        held = StateSpace(sparse.csc_array(E @ system.A), E @ system.B, system.C, dt=dt, E=sparse.csc_array(E))
        reduction = dataclasses.replace(reduction, full=held)

    found = reduction.certify(dense_limit=10)

    assert 0.9 * exact.hinf.lower <= found.hinf.lower <= exact.hinf.upper * (1 + 1e-9)
    assert found.hinf.upper == np.inf
    assert found.holds is None
    assert found.h2 == pytest.approx(exact.h2, rel=1e-6)
    assert found.dc_error == pytest.approx(exact.dc_error, rel=1e-8)


@pytest.mark.parametrize("dt", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
def test_a_large_diagonal_system_is_enclosed_through_a_model(kind, dt):
    rng = np.random.default_rng(0)
    poles = -np.geomspace(0.01, 3, 60) + (0 if kind == "real" else 1j * rng.uniform(0, 0.02, 60))
    B, C = rng.standard_normal((60, 2)) + 0 * poles[:, None], rng.standard_normal((3, 60)) + 0 * poles
    A = Diagonal(np.exp(dt * poles) if dt else poles, paired=kind == "paired")
    reduction = balanced_truncation(StateSpace(A, B, C, rng.standard_normal((3, 2)), dt), 8)
    exact = reduction.certify(dense_limit=200)

    found = reduction.certify(dense_limit=50)

    assert found.hinf.lower <= exact.hinf.upper
    assert exact.hinf.lower <= found.hinf.upper <= exact.hinf.upper * 1.01
    assert found.hinf.lower >= 0.99 * exact.hinf.lower
    assert found.holds
    assert found.h2 == pytest.approx(exact.h2, rel=1e-6)


def test_a_model_that_is_no_larger_encloses_nothing():
    poles = -np.geomspace(0.01, 3, 60)
    full = StateSpace(Diagonal(poles), np.ones((60, 1)), np.ones((1, 60)))
    reduced = balanced_truncation(full, 8).system

    assert enclosed_error(full, reduced, 1e-8, 16) is None
    assert enclosed_error(full, reduced, 1e-8, 8) is None
    assert enclosed_error(full.to_dense(), reduced, 1e-8, 60) is None


def test_a_large_system_may_still_refute_a_bound(make_system):
    reduction = balanced_truncation(make_system("paired"), 3)
    reduction = dataclasses.replace(reduction, error_bound=reduction.error_bound / 100)

    assert reduction.certify(dense_limit=5).holds is False


def test_modes_too_many_for_a_low_rank_factor_are_summed():
    rng = np.random.default_rng(0)
    for dt in (0.0, 1.0):
        poles = -rng.uniform(0.1, 1, 40) + 1j * rng.uniform(-5, 5, 40)
        A = Diagonal(np.exp(poles) if dt else poles)
        system = StateSpace(A, rng.normal(size=(40, 2)) + 0j, rng.normal(size=(3, 40)) + 0j, dt=dt)

        assert modal_h2_norm(system, A) == pytest.approx(h2_norm(system), rel=1e-10)


@pytest.mark.parametrize("feedthrough", [0.0, 1.0])
def test_where_no_low_rank_factor_is_found_the_modes_are_summed(make_system, monkeypatch, feedthrough):
    def fails(*_, **__):
        raise ConvergenceError("not low rank")

    system = make_system("paired", dt=0.5)
    reduction = balanced_truncation(system, 6)
    moved = StateSpace(*(getattr(reduction.system, name) for name in "ABC"), system.D + feedthrough, 0.5)
    reduction = dataclasses.replace(reduction, system=moved)
    exact = reduction.certify().h2
    monkeypatch.setattr("ssm_balance._large_error.h2_norm", fails)

    assert reduction.certify(dense_limit=5).h2 == pytest.approx(exact, rel=1e-6)


def test_an_error_out_of_reach_is_no_number(make_system, monkeypatch):
    def fails(*_, **__):
        raise ConvergenceError("no factor")

    system = make_system("dense", n=12)
    reduction = balanced_truncation(system, 6)
    held = StateSpace(sparse.csc_array(system.A), system.B, system.C, system.D)
    monkeypatch.setattr("ssm_balance._large_error.h2_norm", fails)

    assert np.isnan(dataclasses.replace(reduction, full=held).certify(dense_limit=5).h2)


def test_a_zero_on_the_border_leaves_no_relative_error():
    one = np.eye(1)
    full = StateSpace(np.diag([-1.0, -3.0]), np.ones((2, 1)), np.array([[-1.0, 0.0]]), one)  # s / (s + 1)
    reduced = StateSpace(-one, one, -one, one)

    found = Reduction(reduced, np.array([0.5, 0.0]), 1, 1.0, None, None, full, "cut", 1.0).certify()

    assert found.relative is None


def test_an_unstable_pair_is_measured_on_the_axis():
    A = np.diag([1.0, -2.0])
    full = StateSpace(A, np.ones((2, 1)), np.ones((1, 2)))
    reduced = StateSpace(A[:1, :1], np.ones((1, 1)), np.ones((1, 1)))

    found = Reduction(reduced, np.array([1.0, 0.1]), 1, np.inf, None, None, full, "cut").certify()

    assert found.hinf.lower == pytest.approx(0.5, rel=1e-6)
    assert found.h2 == np.inf
    assert not found.is_stable
    assert "UNSTABLE" in str(found)


@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_a_relative_error_is_that_of_the_quotient(make_system, points, dt):
    system = make_system("dense", dt=dt, m=2, p=2)
    system = StateSpace(system.A, system.B, system.C, 5 * np.eye(2), dt)
    reduction = dataclasses.replace(balanced_truncation(system, 3), relative_error_bound=1e3)

    found = reduction.certify()

    s = points(dt, 20_001)
    G, G_r = system.transfer_function(s), reduction.system.transfer_function(s)
    expected = np.linalg.norm(np.linalg.solve(G, G - G_r), 2, axis=(-2, -1)).max()
    assert expected * (1 - 1e-9) <= found.relative.bracket.lower <= expected * 1.001
    assert found.relative_holds
    assert "relative error" in str(found)
    assert dataclasses.replace(reduction, relative_error_bound=expected / 2).certify().relative_holds is False


def test_without_an_inverse_there_is_no_relative_error(make_system):
    for system in (make_system(), make_system(m=2, p=2)):
        system = StateSpace(system.A, system.B, system.C)
        reduction = dataclasses.replace(balanced_truncation(system, 3), relative_error_bound=1.0)

        found = reduction.certify()

        assert found.relative is None
        assert found.relative_holds is None


def test_a_certificate_prints_as_a_table():
    assert str(certificate()).splitlines() == [
        "truncation: order 2 of 4",
        "  H∞ error              1 at 3 rad/s, certified to 1e-08",
        "  bound                 2: holds",
        "  H2 error              0.5",
        "  DC gain error         0.1",
        "  stability margin      0.2",
        "  eigenvector condition 5",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"error_bound": 0.5}, "bound                 0.5: BROKEN"),
        ({"error_bound": np.inf}, "bound                 none"),
        ({"hinf": GainBracket(1.0, np.inf, 3.0)}, "H∞ error              ≥ 1 at 3 rad/s, seen from below: no upper"),
        (
            {"hinf": GainBracket(1.0, 1.5, 3.0)},
            "H∞ error              1 at 3 rad/s, at most 1.5, through a larger model",
        ),
        ({"hinf": GainBracket(1.0, 2.5, 3.0)}, "bound                 2: not contradicted"),
        ({"hinf": GainBracket(1.0, np.inf, 3.0)}, "bound                 2: not contradicted"),
        ({"margin": -0.1}, "stability margin      -0.1: UNSTABLE"),
    ],
)
def test_a_table_says_what_is_wrong(changes, line):
    assert line in str(certificate(**changes))


def test_a_width_below_rounding_is_refused(make_system):
    with pytest.raises(BalanceError, match="rtol must be at least 16 eps"):
        balanced_truncation(make_system(), 2).certify(rtol=0)
