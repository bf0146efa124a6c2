"""One file for each way to make a system smaller."""

from .bounded_real import bounded_real_truncation
from .lqg import lqg_truncation
from .positive_real import positive_real_truncation
from .square_root import balanced_truncation

__all__ = ["balanced_truncation", "bounded_real_truncation", "lqg_truncation", "positive_real_truncation"]
