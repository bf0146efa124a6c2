"""The operations of the layers, a folder each, with implementations of one signature; `reference` is the definition."""

from ._operation import Choice, Implementation
from .causal_conv import causal_conv, choose_conv
from .diagonal import available_scans, choose_scan, diagonal_scan
from .moments import Moments
from .threads import scan_threads, set_scan_threads

__all__ = [
    "Choice",
    "Implementation",
    "Moments",
    "available_scans",
    "causal_conv",
    "choose_conv",
    "choose_scan",
    "diagonal_scan",
    "scan_threads",
    "set_scan_threads",
]
