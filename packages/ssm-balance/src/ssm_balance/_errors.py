"""Every exception that this package adds to those of ssm_gramians."""


class BalanceError(Exception):
    """Base of the errors raised here."""


class OrderError(BalanceError, ValueError):
    """The wanted order, energy or error cannot be had."""


class SingularDescriptorError(BalanceError, ArithmeticError):
    """E is singular, and the method needs a regular one."""


class StabilityLossError(BalanceError, ArithmeticError):
    """The reduced system would be unstable, by rounding or by the method; the cut is refused.

    Parameters
    ----------
    message
        What was got, what was wanted, what to do.
    pole
        The pole outside the stable region.
    """

    def __init__(self, message: str, pole: complex):
        super().__init__(message)
        self.pole = pole


class RiccatiError(BalanceError, ArithmeticError):
    """A Riccati equation has no stabilising solution, or rounding hides it."""


class PassivityError(BalanceError, ValueError):
    """The system is not positive real, or its gain is too large, for a method that keeps what is there."""


class MissingLibraryError(BalanceError, ImportError):
    """A function needs a library that is not installed; the message says how to install it."""


class FileFormatError(BalanceError, ValueError):
    """A file is not of the kind that was to be read."""


class PrecisionError(BalanceError, ArithmeticError):
    """Parameters in float32 cannot reproduce the map to the tolerance; the cut is refused.

    Parameters
    ----------
    message
        What was got, what was wanted, why, and what to do.
    error
        The smallest relative error that was found.
    """

    def __init__(self, message: str, error: float):
        super().__init__(message)
        self.error = error
