"""Libraries that a few functions need and the package does not."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ._errors import MissingLibraryError


def library(name: str, *, extra: str) -> ModuleType:
    """Import a module now, when it is wanted.

    Parameters
    ----------
    name
        The module.
    extra
        The extra of this package that brings it.

    Raises
    ------
    MissingLibraryError
        If it cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        needed = name.partition(".")[0]
        msg = f"this needs {needed}, which cannot be imported ({error}); pip install 'ssm-balance[{extra}]' brings it"
        raise MissingLibraryError(msg) from error
