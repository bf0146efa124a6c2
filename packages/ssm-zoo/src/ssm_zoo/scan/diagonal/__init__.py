"""One complex diagonal system for all features: `reference.py` is the definition, README.md the trick of `numba.py`."""

from .operation import available_scans, choose_scan, diagonal_scan

__all__ = ["available_scans", "choose_scan", "diagonal_scan"]
