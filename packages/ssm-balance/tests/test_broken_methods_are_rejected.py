"""The conformance suite catches what it is there for: each break makes the law that names it fail."""

from dataclasses import replace

import numpy as np
import pytest

from ssm_balance import Order, balanced_truncation, singular_perturbation
from ssm_balance.testing import MethodConformance
from ssm_balance.testing.promises import BOTH
from ssm_balance.testing.suites import BalancedTruncation
from ssm_gramians import StateSpace


class Sound(BalancedTruncation):
    """What the broken ones below are made of; it passes in test_method_conformance.py."""

    def reduce(self, system, order=None, **wish):
        return balanced_truncation(system, order, **wish)


class Optimistic(Sound):
    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        return replace(reduction, error_bound=reduction.error_bound / 20)


class Unbounded(Sound):
    def reduce(self, system, order=None, **wish):
        return replace(super().reduce(system, order, **wish), error_bound=np.inf)


class Mirrored(Sound):
    """Loses stability without saying so."""

    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        small = reduction.system
        return replace(reduction, system=replace(small, A=np.linalg.inv(small.A) if small.dt else -small.A))


class ClaimsTheGain(Sound):
    keeps = Sound.keeps | {"DC gain"}


class ClaimsTheFeedthrough(Sound):
    def reduce(self, system, order=None, **wish):
        return singular_perturbation(system, order, **wish)


class ClaimsPoles(Sound):
    keeps = Sound.keeps | {"poles"}


class ClaimsContraction(Sound):
    keeps = Sound.keeps | {"contraction"}


class ClaimsPassivity(Sound):
    keeps = Sound.keeps | {"passivity"}

    def system(self, kind="dense", dt=0.0):
        full = super().system(kind, dt)
        return StateSpace(full.A, full.B, full.B.T, np.zeros((2, 2)), dt)


class ClaimsOptimality(Sound):
    optimal = "Hankel"


class ClaimsToBeBetterThanItself(Sound):
    optimal = "H2"

    def reduce(self, system, order=None, **wish):
        return singular_perturbation(system, order, **wish)


class Wasteful(Sound):
    """Keeps one state more than was asked for."""

    def reduce(self, system, order=None, **wish):
        return super().reduce(system, min(order + 1, 6) if order else order, **wish)


class Lazy(Sound):
    """Never keeps all."""

    def reduce(self, system, order=None, **wish):
        return super().reduce(system, min(order, 5) if order else order, **wish)


class Loose(Sound):
    """Hands out other bases than it used."""

    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        return replace(reduction, left=reduction.left[:, ::-1])


class Cropping(Sound):
    """Keeps the states that happen to come first."""

    bound = None

    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        r = reduction.order
        small = StateSpace(system.A[:r, :r], system.B[:r], system.C[:, :r], system.D, system.dt)
        return replace(reduction, system=small, left=np.eye(6)[:, :r], right=np.eye(6)[:, :r])


class Squaring(Sound):
    """Gives eigenvalues of P Q for Hankel singular values."""

    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        return replace(reduction, hsv=reduction.hsv**2)


class Rising(Sound):
    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        return replace(reduction, hsv=reduction.hsv[::-1])


class Forgiving(Sound):
    """Makes something of every wish."""

    def reduce(self, system, order=None, energy=None, error=None, **wish):
        if order is not None and not isinstance(order, Order):
            return super().reduce(system, int(np.clip(int(order), 1, 6)))
        return super().reduce(system, energy=float(np.clip(energy if energy else 0.9, 0.1, 1)))


class Deaf(Sound):
    """Allows twice the error."""

    def reduce(self, system, order=None, error=None, **wish):
        return super().reduce(system, order, error=None if error is None else 2 * error, **wish)


class Patching(Sound):
    """Replaces what is not finite."""

    def reduce(self, system, order=None, **wish):
        return super().reduce(replace(system, D=np.nan_to_num(system.D)), order, **wish)


class Reckless(Sound):
    """Takes an unstable system for a stable one."""

    def reduce(self, system, order=None, **wish):
        radius = np.abs(np.linalg.eigvals(system.A)).max()
        return super().reduce(replace(system, A=system.A / (1.2 * radius) if system.dt else system.A), order, **wish)


class Drops(Sound):
    """Keeps unstable poles, somewhere."""

    def reduce(self, system, order=None, unstable="refuse", **wish):
        reduction = super().reduce(system, order, unstable=unstable, **wish)
        if unstable == "refuse":
            return reduction
        return replace(reduction, system=replace(reduction.system, A=1.01 * reduction.system.A))


class Scribbling(Sound):
    """Works in place."""

    def reduce(self, system, order=None, **wish):
        system.B.flags.writeable = True
        system.B[...] *= 2
        return super().reduce(system, order, **wish)


class Single(Sound):
    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        small = reduction.system
        parts = {name: getattr(small, name).astype(np.float32) for name in "ABCD"}
        return replace(reduction, system=replace(small, **parts))


class Complex(Sound):
    def reduce(self, system, order=None, **wish):
        reduction = super().reduce(system, order, **wish)
        small = reduction.system
        return replace(reduction, system=replace(small, A=small.A + 0j, B=small.B + 0j, C=small.C + 0j))


class Converting(Sound):
    """Gives NumPy arrays for tensors."""

    def reduce(self, system, order=None, **wish):
        parts = {name: np.asarray(getattr(system, name)) for name in "ABCD"}
        return super().reduce(replace(system, **parts), order, **wish)


class FirstOnly(Sound):
    """Takes the first member of a batch for all of them."""

    def reduce(self, system, order=None, **wish):
        first = 0 if system.batch_shape else ...
        parts = {name: np.broadcast_to(getattr(system, name)[first], getattr(system, name).shape) for name in "ABCD"}
        return super().reduce(replace(system, **parts), order, **wish)


class Inventive(Sound):
    """Makes up a member where there is none."""

    def reduce(self, system, order=None, **wish):
        if 0 not in system.batch_shape:
            return super().reduce(system, order, **wish)
        return super().reduce(self.system("dense", system.dt), order, **wish)


class Alone(Sound):
    """Takes batches, and says that it does not."""

    batched = False


class DropsE(Sound):
    def reduce(self, system, order=None, **wish):
        return super().reduce(replace(system, E=None), order, **wish)


class Shy(Sound):
    """Takes a sparse E, and says that it does not."""

    sparse_descriptor = False


class Restless(Sound):
    """Promises what is not so in discrete time."""

    keeps_values = BOTH


class Talkative(Sound):
    keeps = frozenset({"stability", "beauty"})


DENSE = ("dense", 0.0)
BROKEN = [
    (Optimistic, "test_the_bound_holds", DENSE),
    (Unbounded, "test_the_bound_holds", DENSE),
    (Mirrored, "test_what_is_kept_is_kept", DENSE),
    (Mirrored, "test_what_is_kept_is_kept", ("dense", 0.5)),
    (ClaimsTheGain, "test_what_is_kept_is_kept", DENSE),
    (ClaimsTheFeedthrough, "test_what_is_kept_is_kept", DENSE),
    (ClaimsPoles, "test_what_is_kept_is_kept", DENSE),
    (ClaimsContraction, "test_what_is_kept_is_kept", DENSE),
    (ClaimsPassivity, "test_what_is_kept_is_kept", DENSE),
    (ClaimsOptimality, "test_no_error_is_below_what_is_possible", DENSE),
    (ClaimsToBeBetterThanItself, "test_the_h2_error_is_not_above_that_of_truncation", ()),
    (Wasteful, "test_the_order_is_as_wanted", ()),
    (Lazy, "test_full_order_is_the_map_itself", DENSE),
    (Loose, "test_a_projection_is_one", DENSE),
    (Cropping, "test_coordinates_do_not_matter", ()),
    (Squaring, "test_values_are_as_declared", ()),
    (Rising, "test_values_are_as_declared", ()),
    (Restless, "test_reducing_twice_is_reducing_once", ()),
    *((Forgiving, "test_a_bad_order_is_refused", (order,)) for order in (0, -1, 7, 1.5, True)),
    *((Forgiving, "test_a_bad_wish_is_refused", (wish,)) for wish in ({}, {"energy": 0.0}, {"energy": 1.2})),
    (Forgiving, "test_a_bad_wish_is_refused", ({"order": 2, "energy": 0.9},)),
    (Deaf, "test_an_allowed_error_is_kept", ()),
    (Patching, "test_what_is_not_finite_is_refused", ()),
    (Reckless, "test_an_unstable_system_is_taken_or_refused", ()),
    (Drops, "test_unstable_poles_are_kept_on_request", ()),
    (Scribbling, "test_inputs_are_untouched", ()),
    (Single, "test_the_result_is_in_double_precision", ()),
    (Complex, "test_what_is_paired_stays_real", ()),
    (Converting, "test_tensors_give_tensors", ()),
    (FirstOnly, "test_a_batch_equals_a_loop", ()),
    (Alone, "test_a_batch_equals_a_loop", ()),
    (Inventive, "test_an_empty_batch_is_refused", ()),
    (DropsE, "test_a_descriptor_changes_coordinates_only", ()),
    (DropsE, "test_a_singular_descriptor_is_refused", ()),
    (Shy, "test_a_sparse_descriptor_is_taken_or_refused", ()),
    (Talkative, "test_the_declarations_use_known_words", ()),
]


@pytest.mark.parametrize(("broken", "law", "arguments"), BROKEN, ids=lambda part: getattr(part, "__name__", str(part)))
def test_a_broken_method_fails(broken, law, arguments):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(broken(), law)(*arguments)


def test_every_law_rejects_something():
    laws = {name for name in dir(MethodConformance) if name.startswith("test_")}

    assert laws == {law for _, law, _ in BROKEN}
