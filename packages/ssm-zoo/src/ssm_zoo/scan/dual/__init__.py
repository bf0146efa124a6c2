"""Mamba-2's state-space dual: `reference.py` is the definition, README.md the trick of `numba.py`."""

from .operation import available_ssd, choose_ssd, ssd

__all__ = ["available_ssd", "choose_ssd", "ssd"]
