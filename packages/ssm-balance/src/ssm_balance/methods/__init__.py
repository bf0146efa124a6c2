"""One file for each way to make a system smaller."""

from .square_root import balanced_truncation

__all__ = ["balanced_truncation"]
