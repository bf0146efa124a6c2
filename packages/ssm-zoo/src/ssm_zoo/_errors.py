"""Every exception of the package. Each is also a builtin one, so that `except ValueError` works."""


class ZooError(Exception):
    """Base of every error that ssm-zoo raises on purpose."""


class OptionError(ZooError, ValueError):
    """An option outside its range, or options that contradict each other."""


class ShapeError(ZooError, ValueError):
    """Arrays whose shapes do not fit together."""


class DtypeError(ZooError, TypeError):
    """Arrays of a kind the operation is not defined for."""


class UnsupportedError(ZooError, TypeError):
    """A layer, optimiser or implementation that cannot do what was asked."""


class ImplementationNotAvailableError(ZooError, ImportError):
    """An implementation whose package is not installed; the message says how to install it."""


class ReductionError(ZooError, ArithmeticError):
    """A reduction that would damage the model; nothing was changed."""


class DataError(ZooError, OSError):
    """A data file that could not be fetched, or whose content is not the official one."""


class RunError(ZooError, RuntimeError):
    """A run folder that belongs to another run, or that cannot be resumed."""


def require(condition: bool, message: str, error: type[ZooError] = OptionError) -> None:
    """Raise `error(message)` unless `condition` holds."""
    if not condition:
        raise error(message)
