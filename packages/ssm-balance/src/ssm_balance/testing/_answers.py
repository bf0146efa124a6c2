"""The laws of a method that are about the reduced map: the first half of `MethodConformance`."""

from __future__ import annotations

import numpy as np
import pytest

from ssm_gramians import InstabilityError, StateSpace

from .._certificate import Certificate
from .._difference import difference
from .._errors import StabilityLossError
from .._hankel import hankel_singular_values
from .._project import project
from .._reduction import Reduction
from ..norms import h2_norm, hankel_norm, hinf_bracket
from .promises import WORDS, Promises, time_of
from .systems import DT, KINDS, Kind, points, transformed

ORDERS = (2, 4)  # of 6; between pairs of poles


def over(kinds: tuple[Kind, ...]) -> pytest.MarkDecorator:
    """Parametrise a law by kind and dt."""
    cases = [(kind, dt) for kind in kinds for dt in (0.0, DT)]
    return pytest.mark.parametrize(("kind", "dt"), cases, ids=[f"{kind}-{time_of(dt)}" for kind, dt in cases])


every_kind = over(KINDS)
three_kinds = over(("dense", "complex", "paired"))
two_kinds = over(("dense", "paired"))


class AnswerLaws(Promises):
    """Inherit `MethodConformance` instead, which has these laws and the others."""

    def served(self, kind: Kind, dt: float) -> StateSpace:
        """Return a system of this kind; skip the test if the declarations do not promise it."""
        if kind not in self.kinds or time_of(dt) not in self.times:
            pytest.skip("not served, by the declarations")
        return self.system(kind, dt)

    def reductions(self, system: StateSpace) -> list[Reduction]:
        """Return the reductions to each order, without those that are refused since stability would be lost."""
        found = []
        for order in ORDERS if isinstance(system.A, np.ndarray) else ORDERS[1:]:
            try:
                found.append(self.run(system, order))
            except StabilityLossError:
                assert "stability" not in self.keeps, f"{self.name} promises stability and lost it at order {order}"
        return found

    @three_kinds
    def test_the_bound_holds(self, kind: Kind, dt: float) -> None:
        for reduction in self.reductions(self.served(kind, dt)):
            if self.bound is None:
                assert reduction.error_bound == np.inf
                continue
            certificate = reduction.certify()
            assert isinstance(certificate, Certificate)
            assert certificate.holds, str(certificate)
            assert not self.bound_is_relative or certificate.relative_holds is not False, str(certificate)

    @every_kind
    def test_what_is_kept_is_kept(self, kind: Kind, dt: float) -> None:
        system = self.served(kind, dt)
        gain = np.abs(system.transfer_function(points(dt))).max()
        for reduction in self.reductions(system):
            assert reduction.method
            assert reduction.system.dt == system.dt
            for word in self.keeps:
                assert _KEPT[word](system.to_dense(), reduction.system, gain * self.rtol), f"not kept: {word}"

    @over(("dense",))
    def test_no_error_is_below_what_is_possible(self, kind: Kind, dt: float) -> None:
        system = self.served(kind, dt)
        hsv = hankel_singular_values(system.to_dense())
        for reduction in self.reductions(system):
            try:
                error = hankel_norm(difference(system.to_dense(), reduction.system))
            except InstabilityError:
                assert "stability" not in self.keeps
                continue
            assert error >= hsv[reduction.order] * (1 - 1e-7)
            if self.optimal == "Hankel":
                assert error <= hsv[reduction.order] * (1 + 1e-7)

    @two_kinds
    def test_full_order_is_the_map_itself(self, kind: Kind, dt: float) -> None:
        system = self.served(kind, dt)
        reduction = self.run(system, system.order)
        assert reduction.order == system.order
        self.assert_same_map(reduction.system, system)

    @two_kinds
    def test_a_projection_is_one(self, kind: Kind, dt: float) -> None:
        system = self.served(kind, dt)
        for reduction in self.reductions(system):
            if time_of(dt) in self.projects:
                left, right = reduction.left, reduction.right
                eye = np.eye(reduction.order)
                assert np.allclose(np.conj(np.transpose(left)) @ right, eye, atol=1e-7)  # type: ignore[arg-type]
                self.assert_same_map(project(system, left, right), reduction.system)

    def test_the_h2_error_is_not_above_that_of_truncation(self) -> None:
        if self.optimal != "H2":
            pytest.skip("not promised")
        from ..methods import balanced_truncation

        for full in self.systems():
            system = StateSpace(full.A, full.B, full.C, 0 * full.D, full.dt)
            ours, theirs = (h2_norm(difference(system, f(system, 3).system)) for f in (self.run, balanced_truncation))
            assert ours <= theirs * (1 + 1e-9)

    def test_coordinates_do_not_matter(self) -> None:
        if not self.invariant:
            pytest.skip("not promised")
        for system in self.systems():
            for ours, theirs in zip(self.reductions(system), self.reductions(transformed(system)), strict=True):
                np.testing.assert_allclose(ours.hsv, theirs.hsv, rtol=1e-7, atol=1e-9 * ours.hsv[0])
                self.assert_same_map(ours.system, theirs.system)

    def test_values_are_as_declared(self) -> None:
        for system in self.systems():
            for reduction in self.reductions(system):
                hsv = reduction.hsv
                assert np.all(hsv[:-1] >= hsv[1:])
                assert hsv[-1] >= 0
                if self.values_are_hankel:
                    np.testing.assert_allclose(hsv, hankel_singular_values(system), rtol=1e-8)

    def test_reducing_twice_is_reducing_once(self) -> None:
        for system in self.systems():
            for once in self.reductions(system):
                if time_of(system.dt) in self.keeps_values:
                    twice = self.run(once.system, once.order)
                    np.testing.assert_allclose(twice.hsv, once.hsv[: once.order], rtol=1e-6)
                    self.assert_same_map(twice.system, once.system)

    def assert_same_map(self, ours: StateSpace, theirs: StateSpace) -> None:
        """Fail unless the transfer functions agree to rounding."""
        s = points(ours.dt)
        G, H = ours.transfer_function(s), theirs.transfer_function(s)
        error, size = np.abs(G - H).max(), np.abs(H).max()
        assert error <= self.rtol * size, f"the maps differ by {error / size:.2e} of the gain"


def _worst(poles, dt):
    return np.max(np.abs(poles) - 1 if dt else poles.real)


def _gap(G, H):
    return np.abs(G - H).max()


def _are_among(full, small):
    return np.abs(small.poles()[:, None] - full.poles()).min(axis=1).max() < 1e-8


def _is_passive(system, slack):
    values = system.transfer_function(points(system.dt, 200))
    return np.linalg.eigvalsh(values + np.conj(np.swapaxes(values, -1, -2))).min() >= -slack


def _dc(system):
    return system.transfer_function(np.array([1.0 + 0j if system.dt else 0j]))


_KEPT = {
    "stability": lambda full, small, slack: _worst(small.poles(), small.dt) < 0,
    "DC gain": lambda full, small, slack: _gap(_dc(full), _dc(small)) <= slack,
    "D": lambda full, small, slack: _gap(full.D, small.D) <= slack,
    "poles": lambda full, small, slack: _are_among(full, small),
    "contraction": lambda full, small, slack: hinf_bracket(small).lower <= 1 + slack,
    "passivity": lambda full, small, slack: _is_passive(small, slack),
}
assert _KEPT.keys() == WORDS.keys()
