"""State-space sequence models in PyTorch that shrink their state while they train."""

__version__ = "0.1.0.dev0"
