"""One file for each way to make a system smaller."""

from .bounded_real import bounded_real_truncation
from .frequency_weighted import frequency_weighted_truncation
from .h2_optimal import h2_optimal
from .limited import frequency_limited_truncation, time_limited_truncation
from .low_rank import low_rank_truncation
from .lqg import lqg_truncation
from .positive_real import positive_real_truncation
from .square_root import balanced_truncation

__all__ = [
    "balanced_truncation",
    "bounded_real_truncation",
    "frequency_limited_truncation",
    "frequency_weighted_truncation",
    "h2_optimal",
    "low_rank_truncation",
    "lqg_truncation",
    "positive_real_truncation",
    "time_limited_truncation",
]
