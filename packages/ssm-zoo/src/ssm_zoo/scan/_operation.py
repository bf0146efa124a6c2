"""How an operation finds its implementations, and how `auto` takes one of them."""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from ssm_zoo._errors import ImplementationNotAvailableError, OptionError, UnsupportedError, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

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
    one_step
        The one that is best for a single step.
    """

    folder: str
    implementations: tuple[Implementation, ...]
    one_step: Implementation = "reference"

    def available(self) -> tuple[Implementation, ...]:
        """Return the implementations that can run here on some device, the definition first."""
        return tuple(name for name in self.implementations if installed(name) and _has_device(name))

    def choose(self, inputs: Tensor) -> Choice:
        """Return what `auto` takes for inputs (batch, length, ...): the fused implementation, but for one step."""
        if inputs.shape[1] == 1:
            return Choice(self.one_step, "one step is the recurrence itself")
        return self.fused(inputs.device)

    def fused(self, device: torch.device) -> Choice:
        """Return the fused implementation for a device if there is one that can run, else the one made of Torch."""
        name: Implementation = "triton" if device.type == "cuda" else "numba"
        plain: Implementation = "torch" if "torch" in self.implementations else "reference"
        if device.type not in ("cpu", "cuda") or name not in self.implementations:
            return Choice(plain, f"there is no fused kernel for {device.type}")
        if not installed(name):
            return Choice(plain, f"pip install '{_NEEDS[name]}' brings the fused kernel for {device.type}")
        return Choice(name, f"the fused kernel for {device.type}")

    def load(self, implementation: str, inputs: Tensor) -> Callable[..., Any]:
        """Return `run` of an implementation; of what `choose` says if this is `auto`.

        Raises
        ------
        OptionError, ImplementationNotAvailableError, UnsupportedError
            If there is no such implementation, it needs what is not installed, or it is for another device.
        """
        if implementation == "auto":
            implementation = self.choose(inputs).implementation
        if implementation not in self.implementations:
            names = ", ".join(map(repr, self.implementations))
            msg = f"implementation={implementation!r} is not one of 'auto', {names}"
            raise OptionError(msg)
        if not installed(implementation):
            extra = _NEEDS[implementation]
            msg = f"{implementation=} needs {implementation.capitalize()}: pip install '{extra}', or take 'torch'"
            raise ImplementationNotAvailableError(msg)
        if implementation == "triton":
            wanted = (
                "wanted one on CUDA: take 'auto' (or set TRITON_INTERPRET=1 before the import, to test the kernels)"
            )
            simulated = os.environ.get("TRITON_INTERPRET") == "1"
            require(inputs.is_cuda or simulated, f"got a tensor on {inputs.device}, {wanted}", UnsupportedError)
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
