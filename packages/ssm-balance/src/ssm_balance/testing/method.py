"""What a method of reduction promises."""

# ruff: noqa: D102  (the name of a test is its documentation)

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from ssm_gramians import GramiansError, InstabilityError, NonFiniteError, ShapeError
from ssm_gramians.testing import as_numpy, assert_same_kind, assert_untouched

from .._errors import BalanceError, OrderError, SingularDescriptorError
from .._order import Energy
from ._answers import AnswerLaws
from .promises import WORDS
from .systems import KINDS, like, relative

_MATRICES = "ABCD"
_BAD_ORDERS: tuple[Any, ...] = (0, -1, 7, 1.5, True)  # of 6
_BAD_WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"energy": 0.0},
    {"energy": 1.2},
    {"error": -1.0},
    {"error": np.nan},
    {"order": 2, "energy": 0.9},
)


class MethodConformance(AnswerLaws):
    """Inherit, set `name` and `reduce`, and declare what the method promises: the attributes of `Promises`.

    `reduce(system, order, *, energy=None, error=None)` returns a `Reduction`; a function becomes one of the class by
    `staticmethod`. Override `system` where a method asks for more than stability, as two equal numbers of channels.
    """

    def test_the_declarations_use_known_words(self) -> None:
        assert self.keeps <= WORDS.keys()
        assert {"continuous", "discrete"} >= self.times > frozenset()
        assert set(self.kinds) <= set(KINDS)
        assert "dense" in self.kinds, "the laws need dense systems"
        assert self.optimal in (None, "Hankel", "H2")

    def test_the_order_is_as_wanted(self) -> None:
        for system in self.systems():
            for reduction in self.reductions(system):
                assert reduction.order == reduction.system.order
                assert reduction.order in (2, 4)
            reduction = self.run(system, energy=0.8)
            fewest = Energy(0.8).select(reduction.hsv)
            assert reduction.order in ((fewest, fewest + 1) if self.keeps_pairs else (fewest,))

    def test_an_allowed_error_is_kept(self) -> None:
        if self.bound is None:
            pytest.skip("no bound, by the declarations")
        for system in self.systems():
            promised = self._promised(self.run(system, 4))
            for wanted in (1.001 * promised, 0.7 * promised):
                assert self._promised(self.run(system, error=wanted)) <= wanted

    @pytest.mark.parametrize("order", _BAD_ORDERS, ids=repr)
    def test_a_bad_order_is_refused(self, order: Any) -> None:
        for system in self.systems():
            with pytest.raises(OrderError):
                self.run(system, order)

    @pytest.mark.parametrize("wish", _BAD_WISHES, ids=repr)
    def test_a_bad_wish_is_refused(self, wish: dict[str, Any]) -> None:
        for system in self.systems():
            with pytest.raises(OrderError):
                self.run(system, **wish)

    def test_what_is_not_finite_is_refused(self) -> None:
        for system, name in product(self.systems(), _MATRICES):
            bad = np.array(getattr(system, name))
            bad[0, 0] = np.nan
            changed: dict[str, Any] = {name: bad}
            with pytest.raises(NonFiniteError):
                self.run(replace(system, **changed), 2)

    def test_an_unstable_system_is_taken_or_refused(self) -> None:
        for system in self.systems():
            unstable = replace(system, A=1.3 * system.A if system.dt else system.A + 0.2 * np.eye(6))
            if self.takes_unstable:
                assert self.run(unstable, 6).order == 6
            else:
                with pytest.raises(InstabilityError):
                    self.run(unstable, 2)

    def test_unstable_poles_are_kept_on_request(self) -> None:
        if not self.splits_unstable:
            pytest.skip("not promised")
        for system in self.systems():
            unstable = replace(system, A=1.3 * system.A if system.dt else system.A + 0.2 * np.eye(6))
            reduction = self.run(unstable, 5, unstable="keep")
            assert reduction.certify().holds is not False  # type: ignore[union-attr]
            full, small = unstable.poles(), reduction.system.poles()
            grown = full[np.abs(full) >= 1] if system.dt else full[full.real >= 0]
            assert np.abs(grown[:, None] - small).min(axis=1).max() < 1e-8

    def test_inputs_are_untouched(self) -> None:
        for system in self.systems():
            held = like(system, _frozen)
            with assert_untouched(*(getattr(held, name) for name in _MATRICES)):
                self.run(held, 4)

    def test_the_result_is_in_double_precision(self) -> None:
        for system in self.systems():
            single = like(system, lambda array: np.asarray(array, np.float32))
            for given in (single, system):
                small = self.run(given, 4).system
                assert {as_numpy(getattr(small, name)).dtype for name in _MATRICES} == {np.dtype(np.float64)}

    def test_what_is_paired_stays_real(self) -> None:
        if "paired" not in self.kinds:
            pytest.skip("not served, by the declarations")
        for dense in self.systems():
            small = self.run(self.system("paired", dense.dt), 4).system
            assert not any(np.iscomplexobj(getattr(small, name)) for name in _MATRICES)

    def test_tensors_give_tensors(self) -> None:
        if not self.takes_torch:
            pytest.skip("not taken, by the declarations")
        torch = pytest.importorskip("torch")
        for system, learns in product(self.systems(), (False, True)):  # as the parameters of a layer do
            given = like(system, lambda array: torch.tensor(np.array(array)).requires_grad_(learns))  # noqa: B023
            ours = self.run(given, 4)
            for name in _MATRICES:
                assert_same_kind(getattr(ours.system, name), torch.zeros(1, dtype=torch.float64))
            assert_same_kind(ours.hsv, torch.zeros(1, dtype=torch.float64))
            self.assert_same_map(like(ours.system, as_numpy), self.run(system, 4).system)

    def test_a_batch_equals_a_loop(self) -> None:
        for system in self.systems():
            parts = [system, relative(system)]
            stacked: dict[str, Any] = {name: np.stack([getattr(part, name) for part in parts]) for name in _MATRICES}
            batch = replace(system, **stacked)
            if not self.batched:
                with pytest.raises(GramiansError):
                    self.run(batch, 4)
                continue
            got = self.run(batch, 4)
            assert got.order == 4
            assert np.shape(got.error_bound) == (2,)
            for row, part in enumerate(parts):
                one = self.run(part, 4)
                taken: dict[str, Any] = {name: getattr(got.system, name)[row] for name in _MATRICES}
                member = replace(system, **taken)
                self.assert_same_map(member, one.system)
                np.testing.assert_allclose(got.hsv[row], one.hsv, rtol=1e-7)
                np.testing.assert_allclose(np.asarray(got.error_bound)[row], one.error_bound, rtol=1e-7)

    def test_a_descriptor_changes_coordinates_only(self) -> None:
        E = np.eye(6) + np.diag(np.full(5, 0.3), 1)
        for system in self.systems():
            held = replace(system, A=E @ system.A, B=E @ system.B, E=E)
            ours, plain = self.run(held, 4), self.run(system, 4)
            self.assert_same_map(ours.system, plain.system)
            np.testing.assert_allclose(ours.hsv, plain.hsv, rtol=1e-7)
            if ours.left is not None:
                assert np.allclose(np.conj(np.transpose(ours.left)) @ E @ ours.right, np.eye(4), atol=1e-8)

    def test_a_sparse_descriptor_is_taken_or_refused(self) -> None:
        E = np.diag(np.linspace(1, 2, 6))
        for system in self.systems():
            A, B = E @ system.A, E @ system.B
            held = replace(system, A=sparse.csc_array(A), B=B, E=sparse.csc_array(E))
            if not self.sparse_descriptor:
                with pytest.raises(GramiansError):
                    self.run(held, 4)
                continue
            self.assert_same_map(self.run(held, 4).system, self.run(replace(system, A=A, B=B, E=E), 4).system)

    def test_a_singular_descriptor_is_refused(self) -> None:
        E = np.diag([1.0] * 5 + [0.0])
        for system in self.systems():
            with pytest.raises(SingularDescriptorError):
                self.run(replace(system, E=E), 2)
            error: Any = SingularDescriptorError if self.sparse_descriptor else (GramiansError, BalanceError)
            with pytest.raises(error):
                self.run(replace(system, A=sparse.csc_array(system.A), E=sparse.csc_array(E)), 2)

    def test_an_empty_batch_is_refused(self) -> None:
        for system in self.systems():
            none: dict[str, Any] = {name: np.zeros((0, *getattr(system, name).shape)) for name in _MATRICES}
            for wish in ({"order": 2}, {"energy": 0.9}):
                with pytest.raises(ShapeError, match="empty batch"):
                    self.run(replace(system, **none), **wish)

    def _promised(self, reduction: Any) -> float:
        return float(reduction.relative_error_bound if self.bound_is_relative else reduction.error_bound)


def _frozen(array: Any) -> Any:
    made = np.array(array)
    made.flags.writeable = False
    return made
