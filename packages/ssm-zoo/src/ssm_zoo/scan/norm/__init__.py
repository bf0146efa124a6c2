"""RMS normalisation with a gate, as Mamba-2 has it between its scan and its last linear map."""

from .operation import gated_norm

__all__ = ["gated_norm"]
