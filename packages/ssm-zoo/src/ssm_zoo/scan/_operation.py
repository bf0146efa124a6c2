"""How an operation finds its implementations, and how `auto` takes one of them."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from ssm_zoo._errors import ImplementationNotAvailableError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

Implementation: TypeAlias = Literal["auto", "reference", "torch", "numba", "triton"]
"""A file in the folder of an operation: the loop that defines it; Torch alone; fused for the CPU; fused for CUDA."""

_NEEDS = {"numba": "ssm-zoo[numba]", "triton": "ssm-zoo[triton]"}
"""What to install for the implementations that need more than Torch."""


@dataclass(frozen=True)
class Choice:
    """What `auto` takes, and why."""

    implementation: Implementation
    reason: str

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.implementation}: {self.reason}"


@dataclass(frozen=True)
class Operation:
    """One function in several files of the same signature.

    Parameters
    ----------
    folder
        The operation's folder in `ssm_zoo.scan`; each implementation is a file there, with a function `run`.
    implementations
        Their names, the definition first.
    """

    folder: str
    implementations: tuple[Implementation, ...]

    def available(self) -> tuple[Implementation, ...]:
        """Return the implementations that can run here on some device, the definition first."""
        return tuple(name for name in self.implementations if installed(name) and _has_device(name))

    def fused(self, device: torch.device) -> Choice:
        """Return the fused implementation for a device if there is one that can run, else `torch`."""
        name: Implementation = "triton" if device.type == "cuda" else "numba"
        if device.type not in ("cpu", "cuda") or name not in self.implementations:
            return Choice("torch", f"there is no fused kernel for {device.type}")
        if not installed(name):
            return Choice("torch", f"pip install '{_NEEDS[name]}' brings the fused kernel for {device.type}")
        return Choice(name, f"the fused kernel for {device.type}")

    def load(self, implementation: str) -> Callable[..., Any]:
        """Return `run` of an implementation.

        Raises
        ------
        OptionError, ImplementationNotAvailableError
            If there is no such implementation, or it needs what is not installed.
        """
        if implementation not in self.implementations:
            names = ", ".join(map(repr, self.implementations))
            msg = f"implementation={implementation!r} is not one of 'auto', {names}"
            raise OptionError(msg)
        if not installed(implementation):
            extra = _NEEDS[implementation]
            msg = f"{implementation=} needs {implementation.capitalize()}: pip install '{extra}', or take 'torch'"
            raise ImplementationNotAvailableError(msg)
        _bring(self.folder, implementation)
        from ssm_zoo import scan  # a compiler follows names, not the import by name above

        return getattr(getattr(scan, self.folder), implementation).run


@torch.compiler.assume_constant_result
def _bring(folder: str, implementation: str) -> bool:
    return bool(importlib.import_module(f"ssm_zoo.scan.{folder}.{implementation}"))


@torch.compiler.assume_constant_result
def installed(implementation: str) -> bool:
    """Say whether the package that an implementation needs is installed."""
    return implementation not in _NEEDS or _found(implementation)


def _has_device(implementation: str) -> bool:
    return implementation != "triton" or torch.cuda.is_available()


@cache
def _found(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
