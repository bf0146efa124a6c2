"""Every exception of the package; each is also a builtin, so that `except ValueError` works."""

from __future__ import annotations


class GramiansError(Exception):
    """Base of every error that this package raises on purpose."""


class ShapeError(GramiansError, ValueError):
    """Arrays whose shapes do not fit together."""


class DtypeError(GramiansError, TypeError):
    """Arrays of the wrong kind, precision or library."""


class NonFiniteError(GramiansError, ValueError):
    """An input with NaN or infinity in it."""


class InstabilityError(GramiansError, ValueError):
    """A system without a Gramian, since one of its modes does not decay.

    `eigenvalue` is the offending one, a Python complex, or None if the solver could not name it.
    """

    def __init__(self, message: str, eigenvalue: complex | None = None) -> None:
        super().__init__(message)
        self.eigenvalue = eigenvalue


class SingularEquationError(GramiansError, ArithmeticError):
    """An equation without a unique solution."""


class ConvergenceError(GramiansError, ArithmeticError):
    """An iteration that ended before the tolerance was met."""


class UnsupportedError(GramiansError, TypeError):
    """A request that the chosen solver or backend cannot serve."""


class BackendNotAvailableError(GramiansError, ImportError):
    """A backend that is unknown or not installed; the message says how to install it."""
