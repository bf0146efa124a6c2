"""Independent systems of one input and one output each: `reference.py` is the definition, README.md the trick."""

from .operation import channel_scan, choose_channel_scan

__all__ = ["channel_scan", "choose_channel_scan"]
