"""One file for each way to make a system smaller."""

from .bounded_real import bounded_real_truncation
from .cross_gramian import cross_gramian_truncation
from .data_weighted import data_weighted_truncation
from .frequency_weighted import frequency_weighted_truncation
from .h2_optimal import h2_optimal
from .hankel_norm import hankel_norm_approximation
from .limited import frequency_limited_truncation, time_limited_truncation
from .low_rank import low_rank_truncation
from .lqg import lqg_truncation
from .modal import modal_truncation
from .positive_real import positive_real_truncation
from .singular_perturbation import singular_perturbation
from .square_root import balanced_truncation
from .stochastic import stochastic_truncation

__all__ = [
    "balanced_truncation",
    "bounded_real_truncation",
    "cross_gramian_truncation",
    "data_weighted_truncation",
    "frequency_limited_truncation",
    "frequency_weighted_truncation",
    "h2_optimal",
    "hankel_norm_approximation",
    "low_rank_truncation",
    "lqg_truncation",
    "modal_truncation",
    "positive_real_truncation",
    "singular_perturbation",
    "stochastic_truncation",
    "time_limited_truncation",
]
