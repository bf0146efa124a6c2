"""The methods of this package, each with what it promises."""

# ruff: noqa: D101, D102  (`testing.table` writes docs/reference/methods.md from the declarations: each is said once)

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ssm_gramians import StateSpace

from .. import methods
from .._reduction import Reduction
from ..norms import hinf_bracket
from ._given import states, weight, with_feedthrough
from .method import MethodConformance
from .promises import BOTH, CONTINUOUS, NEVER
from .systems import Kind, stable_system

_TWICE = "2 Σ_{i>r} σ_i"
_DEFINITE = "‖L‖ ‖K‖ 2 Σ_{i>r} σ_i"
_DIRECT = frozenset({"stability", "D"})
_BAND, _HORIZON = (0.1, 1.5), 6


class BalancedTruncation(MethodConformance):
    name = "balanced_truncation"
    reduce = staticmethod(methods.balanced_truncation)
    splits_unstable = True
    bound = _TWICE
    keeps = _DIRECT
    sparse_descriptor = True
    keeps_values = CONTINUOUS
    values_are_hankel = True


class SingularPerturbation(MethodConformance):
    name = "singular_perturbation"
    reduce = staticmethod(methods.singular_perturbation)
    splits_unstable = True
    bound = _TWICE
    keeps = frozenset({"stability", "DC gain"})
    sparse_descriptor = True
    projects = NEVER
    keeps_values = BOTH
    values_are_hankel = True


class HankelNormApproximation(MethodConformance):
    name = "hankel_norm_approximation"
    reduce = staticmethod(methods.hankel_norm_approximation)
    splits_unstable = True
    bound = "Σ_{i>r} σ_i"
    optimal = "Hankel"
    keeps = frozenset({"stability"})
    projects = NEVER
    values_are_hankel = True


class LowRankTruncation(MethodConformance):
    name = "low_rank_truncation"
    reduce = staticmethod(methods.low_rank_truncation)
    bound = "2 Σ_{i>r} σ_i + 2 δ"
    keeps = _DIRECT
    sparse_descriptor = True
    takes_torch = False
    keeps_values = CONTINUOUS
    values_are_hankel = True
    note = "nothing is made dense"


class H2Optimal(MethodConformance):
    name = "h2_optimal"
    reduce = staticmethod(methods.h2_optimal)
    optimal = "H2"
    keeps = _DIRECT
    sparse_descriptor = True
    projects = NEVER
    values_are_hankel = True
    rtol = 1e-4  # of an iteration that ends where the error is flat
    note = "local minimum of the H2 error"


class CrossGramianTruncation(MethodConformance):
    name = "cross_gramian_truncation"
    reduce = staticmethod(methods.cross_gramian_truncation)
    splits_unstable = True
    bound = _TWICE
    keeps = _DIRECT
    kinds = ("dense", "paired", "sparse")
    keeps_values = CONTINUOUS
    values_are_hankel = True
    keeps_pairs = True
    note = "real systems of one input and output; else nothing is promised"

    def system(self, kind: Kind = "dense", dt: float = 0.0) -> StateSpace:
        return stable_system(kind, dt, inputs=1, outputs=1)


class ModalTruncation(MethodConformance):
    name = "modal_truncation"
    reduce = staticmethod(methods.modal_truncation)
    splits_unstable = True
    bound = "Σ ‖c_i‖ ‖b_i‖ / |Re λ_i| of what is dropped"
    keeps = _DIRECT | {"poles"}
    keeps_values = BOTH
    keeps_pairs = True


class StochasticTruncation(MethodConformance):
    name = "stochastic_truncation"
    reduce = staticmethod(methods.stochastic_truncation)
    bound = "∏_{i>r} (1 + s_i) / (1 − s_i) − 1, relative"
    bound_is_relative = True
    keeps = frozenset({"stability"})
    projects = CONTINUOUS
    keeps_values = BOTH
    note = "D of full row rank, or `alpha`"

    def system(self, kind: Kind = "dense", dt: float = 0.0) -> StateSpace:
        return with_feedthrough(kind, dt)


class LqgTruncation(MethodConformance):
    name = "lqg_truncation"
    reduce = staticmethod(methods.lqg_truncation)
    keeps = frozenset({"D"})
    takes_unstable = True
    keeps_values = CONTINUOUS
    note = "bounds the gap: `coprime_error_bound`"


class BoundedRealTruncation(MethodConformance):
    name = "bounded_real_truncation"
    reduce = staticmethod(methods.bounded_real_truncation)
    bound = _TWICE
    keeps = _DIRECT | {"contraction"}
    keeps_values = CONTINUOUS

    def system(self, kind: Kind = "dense", dt: float = 0.0) -> StateSpace:
        full = stable_system(kind, dt)
        scale = 0.8 / hinf_bracket(full.to_dense(), rtol=1e-3).upper
        return replace(full, B=scale * full.B, D=scale * full.D)


class PositiveRealTruncation(MethodConformance):
    name = "positive_real_truncation"
    reduce = staticmethod(methods.positive_real_truncation)
    bound = "δ ‖F‖² / (1 − δ ‖F‖), while δ ‖F‖ < 1"
    keeps = _DIRECT | {"passivity"}
    keeps_values = CONTINUOUS
    note = "δ = 2 ‖(D + Dᴴ)⁻¹‖ Σ_{i>r} π_i, F = Dᴴ + G"

    def system(self, kind: Kind = "dense", dt: float = 0.0) -> StateSpace:
        return with_feedthrough(kind, dt)


class FrequencyWeightedTruncation(MethodConformance):
    name = "frequency_weighted_truncation"
    keeps = frozenset({"D"})
    takes_torch = False  # tensors are, beside weights of tensors
    stable = False

    def reduce(self, system: StateSpace, order: Any = None, **wish: Any) -> Reduction:
        wish |= {"input_weight": weight(system, system.inputs), "output_weight": weight(system, system.outputs)}
        return methods.frequency_weighted_truncation(system, order, stable=self.stable, **wish)


class StableFrequencyWeighted(FrequencyWeightedTruncation):
    name = "frequency_weighted_truncation(stable=True)"
    bound = _DEFINITE
    keeps = _DIRECT
    invariant = False  # moduli of matrices depend on the coordinates
    stable = True


class FrequencyLimitedTruncation(MethodConformance):
    name = "frequency_limited_truncation"
    reduce = staticmethod(partial(methods.frequency_limited_truncation, band=_BAND))
    keeps = frozenset({"D"})
    sparse_descriptor = True
    takes_unstable = True


class StableFrequencyLimited(MethodConformance):
    name = "frequency_limited_truncation(stable=True)"
    reduce = staticmethod(partial(methods.frequency_limited_truncation, band=_BAND, stable=True))
    bound = _DEFINITE
    keeps = _DIRECT
    invariant = False  # moduli of matrices depend on the coordinates


class TimeLimitedTruncation(MethodConformance):
    name = "time_limited_truncation"
    reduce = staticmethod(partial(methods.time_limited_truncation, horizon=_HORIZON))
    keeps = frozenset({"D"})
    sparse_descriptor = True
    takes_unstable = True


class StableTimeLimited(MethodConformance):
    name = "time_limited_truncation(stable=True)"
    reduce = staticmethod(partial(methods.time_limited_truncation, horizon=_HORIZON, stable=True))
    bound = _DEFINITE
    keeps = _DIRECT
    invariant = False  # moduli of matrices depend on the coordinates


class DataWeightedTruncation(MethodConformance):
    name = "data_weighted_truncation"
    keeps = _DIRECT
    sparse_descriptor = True
    batched = False
    projects = NEVER
    note = "measures on the data: `snapshot_error`"

    def reduce(self, system: StateSpace, order: Any = None, **wish: Any) -> Reduction:
        return methods.data_weighted_truncation(system, order, states=states(system), **wish)


def built_in() -> tuple[type[MethodConformance], ...]:
    """Return the suites of all methods of the package, in the order of the table."""
    return tuple(
        suite
        for suite in globals().values()
        if isinstance(suite, type) and issubclass(suite, MethodConformance) and suite is not MethodConformance
    )
