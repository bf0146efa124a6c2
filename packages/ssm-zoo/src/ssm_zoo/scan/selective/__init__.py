"""The selective scan of Mamba: `reference.py` is the definition, `_forward.py` and `_backward.py` the fused loops."""

from .operation import choose_selective_scan, selective_scan

__all__ = ["choose_selective_scan", "selective_scan"]
