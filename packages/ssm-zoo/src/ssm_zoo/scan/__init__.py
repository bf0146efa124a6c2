"""The operations of the layers, a folder each, with implementations of one signature; `reference` is the definition."""

from ._operation import Choice, Implementation
from .channel import channel_scan, choose_channel_scan
from .convolution import fft_conv, s4_kernel, s4d_kernel
from .depthwise import causal_conv, choose_conv
from .diagonal import available_scans, choose_scan, diagonal_scan
from .dual import choose_ssd, ssd
from .glu import residual_glu
from .moments import Moments
from .noise import Noise
from .norm import gated_norm
from .selective import choose_selective_scan, selective_scan
from .threads import scan_threads, set_scan_threads

__all__ = [
    "Choice",
    "Implementation",
    "Moments",
    "Noise",
    "available_scans",
    "causal_conv",
    "channel_scan",
    "choose_channel_scan",
    "choose_conv",
    "choose_scan",
    "choose_selective_scan",
    "choose_ssd",
    "diagonal_scan",
    "fft_conv",
    "gated_norm",
    "residual_glu",
    "s4_kernel",
    "s4d_kernel",
    "scan_threads",
    "selective_scan",
    "set_scan_threads",
    "ssd",
]
