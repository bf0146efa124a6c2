"""Base classes out of packages that need not be there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..._errors import ImplementationNotAvailableError


def base_class(name: str, *modules: str) -> Any:
    """Return a class out of the first of these modules that is installed.

    Raises
    ------
    ImplementationNotAvailableError
        If none is.
    """
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name.split(".")[0]):
                raise
    package = modules[0].partition(".")[0]
    msg = f"{package} is not installed; want it for this callback: pip install {package}"
    raise ImplementationNotAvailableError(msg)
