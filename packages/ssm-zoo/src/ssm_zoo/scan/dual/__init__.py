"""Mamba-2's state-space dual: `reference.py` is the definition, README.md the trick of `numba.py`."""

from .operation import choose_ssd, ssd

__all__ = ["choose_ssd", "ssd"]
