"""Balanced truncation, error bounds, system norms and order selection for state-space models."""

__version__ = "0.1.0.dev0"
