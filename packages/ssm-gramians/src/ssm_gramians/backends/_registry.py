"""Which backend computes on which array: found by type, imported when an array asks."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

import array_api_compat

from .._arrays import Array, namespace
from .._errors import BackendNotAvailableError, GramiansError
from ._base import Backend

GROUP = "ssm_gramians.backends"


class _Entry(NamedTuple):
    target: str  # "module:class", imported on first use
    hint: str  # how to get what the module imports


_BUILT_IN = {
    "array": _Entry("ssm_gramians.backends._base:Backend", "pip install ssm-gramians"),
    "cupy": _Entry("ssm_gramians.backends.cupy:CupyBackend", 'pip install "ssm-gramians[cupy]"'),
    "numba": _Entry("ssm_gramians.backends.numba:NumbaBackend", 'pip install "ssm-gramians[numba]"'),
    "scipy": _Entry("ssm_gramians.backends.scipy:ScipyBackend", "pip install scipy"),
    "slycot": _Entry("ssm_gramians.backends.slycot:SlycotBackend", 'pip install "ssm-gramians[slycot]"'),
    "torch": _Entry("ssm_gramians.backends.torch:TorchBackend", 'pip install "ssm-gramians[torch]"'),
}
_registered: dict[str, _Entry] = {}


def register_backend(name: str, target: str, *, hint: str = "", overwrite: bool = False) -> None:
    """Make a backend known under a name; nothing is imported until somebody asks for it.

    Packages do the same without a call, by an entry point in the group `ssm_gramians.backends`.

    Parameters
    ----------
    name
        What users write after `backend=`.
    target
        Where the `Backend` subclass is: `"package.module:Class"`.
    hint
        How to install what it needs; shown if the import fails.
    overwrite
        Whether an existing name may be taken over.

    Raises
    ------
    ValueError
        If the name is taken and `overwrite` is false, or the target is not of the form above.
    """
    if ":" not in target:
        msg = f"target is {target!r}; want 'package.module:Class'"
        raise ValueError(msg)
    if name in _table() and not overwrite:
        msg = f"backend {name!r} is taken by {_table()[name].target!r}; choose another name or pass overwrite=True"
        raise ValueError(msg)
    _registered[name] = _Entry(target, hint)
    _load.cache_clear()


def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can be imported here, sorted."""
    return tuple(name for name in sorted(_table()) if _can_load(name))


def get_backend(choice: str | Backend | Array) -> Backend:
    """Return the backend with this name, or the one that computes on arrays of this type.

    Parameters
    ----------
    choice
        A name, a `Backend` (returned as it is), or an array: NumPy arrays go to `scipy`, Torch tensors to `torch`,
        CuPy arrays to `cupy`, everything else to the first registered backend that owns it, at last to the generic
        `array`.

    Raises
    ------
    BackendNotAvailableError
        If the name is unknown, or what it needs is not installed.
    DtypeError
        If the choice is none of the three.
    """
    if isinstance(choice, Backend):
        return choice
    if isinstance(choice, str):
        return _load(choice)
    if array_api_compat.is_numpy_array(choice):
        return _load("scipy")
    if array_api_compat.is_torch_array(choice):
        return _load("torch").on(choice)
    if array_api_compat.is_cupy_array(choice):
        return _load("cupy")
    namespace(choice)  # not an array: the error that says so
    for name in sorted(_table().keys() - _BUILT_IN.keys()):
        if _can_load(name) and _load(name).owns(choice):
            return _load(name)
    return _load("array")


@cache
def _installed() -> dict[str, _Entry]:
    """Return what other packages offer; scanned once, since a scan costs milliseconds."""

    def hint(point: EntryPoint) -> str:
        return f"pip install {point.dist.name}" if point.dist else ""

    return {point.name: _Entry(point.value, hint(point)) for point in entry_points(group=GROUP)}


def _table() -> dict[str, _Entry]:
    return {**_installed(), **_BUILT_IN, **_registered}


@cache
def _load(name: str) -> Backend:
    entry = _table().get(name)
    if entry is None:
        msg = f"got backend {name!r}; want one of {', '.join(sorted(_table()))}"
        raise BackendNotAvailableError(msg)
    module, _, attribute = entry.target.partition(":")
    try:
        return getattr(import_module(module), attribute)()
    except ImportError as error:
        msg = f"backend {name!r} cannot be imported ({error}); {entry.hint or 'install what it needs'}"
        raise BackendNotAvailableError(msg) from error


def _can_load(name: str) -> bool:
    try:
        _load(name)
    except GramiansError:
        return False
    return True
