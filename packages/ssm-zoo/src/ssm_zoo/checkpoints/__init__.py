"""Checkpoints of other packages, read and written: mamba_ssm, Transformers, S5, LRU, S4D, S4."""

from .load import FORMATS, as_checkpoint, load_checkpoint, save_checkpoint

__all__ = ["FORMATS", "as_checkpoint", "load_checkpoint", "save_checkpoint"]
