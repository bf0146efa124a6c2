"""Models and layers from the checkpoints of others, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import OptionError, require
from . import hugging_face, lru, mamba_ssm, s4, s5
from .files import flat, read_folder, write_folder

if TYPE_CHECKING:
    from torch import nn

    from .files import Tensors

FORMATS: dict[str, Any] = {
    "hf": hugging_face,
    "mamba_ssm": mamba_ssm,
    "s5_torch": s5.TORCH,
    "s5_flax": s5.FLAX,
    "lru": lru,
    "s4d": s4.S4D_PY,
    "s4": s4.S4_V4,
}
"""Every format by name. The first two hold language models, the others a layer."""


def load_checkpoint(source: str | Path | Mapping[str, Any], *, prefix: str | None = None, **config: Any) -> nn.Module:
    """Return the model or the layer of a checkpoint, whatever format of `FORMATS` it has, in evaluation mode.

    Parameters
    ----------
    source
        A folder, or a state dict, or a tree of arrays such as Flax has. Nothing in a folder is executed.
    prefix
        The path in front of a layer's names, such as ``"encoder.layers_0.seq"``. It is found where it is the only one.
    config
        What the tensors do not tell and config.json does not hold, by the names of the format: ``n_groups`` of Mamba-2
        in Transformers, ``discretization`` and ``conj_sym`` of S5, ``disc`` of S4D in the S4 repository.

    Returns
    -------
    module
        A `LanguageModel` in single precision, or a layer.

    Raises
    ------
    RunError
        If the folder holds no weights.
    OptionError
        If the format is none of them, or the prefix is missing or wrong.
    UnsupportedError
        If the model has parts that this package has not.
    """
    stored: tuple[Tensors, dict[str, Any]]
    stored = (dict(flat(source)), {}) if isinstance(source, Mapping) else read_folder(Path(source))
    tensors, known = stored[0], stored[1] | config
    found: dict[str, tuple[Any, Tensors]] = {}
    for path in _paths(tensors, prefix):
        inside = any(not outer or path.startswith(f"{outer}.") for outer in found)
        if not inside and (match := _match(tensors, path, known)):
            found[path] = match
    require(len(found) <= 1, f"got layers at {', '.join(found)}; choose one by prefix=")
    for form, inner in found.values():
        return form.read(inner, known).eval()
    some = ", ".join(list(tensors)[:6])
    wanted = f"one of the formats {', '.join(FORMATS)}, with its prefix if there is one"
    message = f"got tensors {some}, ...; wanted {wanted}"
    raise OptionError(message)


def save_checkpoint(model: nn.Module, folder: str | Path, format: str = "hf") -> Path:  # noqa: A002
    """Write a model or a layer into a folder in the format of others; return the folder.

    Parameters
    ----------
    model
        A `LanguageModel` for ``"hf"`` and ``"mamba_ssm"``; for the others, a layer of the kind.
    folder
        Where to; made if need be.
    format
        A name in `FORMATS`.

    Raises
    ------
    OptionError
        If there is no such format.
    UnsupportedError
        If the format cannot hold the model: those of language models know one state size for all layers.
    """
    form = _form(format)
    tensors, config = form.write(model)
    return write_folder(Path(folder), tensors, config, form.FILE)


def as_checkpoint(model: nn.Module, format: str = "hf") -> Tensors:  # noqa: A002
    """Return the state dict that `save_checkpoint` writes.

    Parameters
    ----------
    model, format
        See `save_checkpoint`.

    Raises
    ------
    OptionError, UnsupportedError
        See `save_checkpoint`.
    """
    return _form(format).write(model)[0]


def _form(name: str) -> Any:
    if name not in FORMATS:
        message = f"got format={name!r}, wanted one of: {', '.join(FORMATS)}"
        raise OptionError(message)
    return FORMATS[name]


def _paths(tensors: Tensors, prefix: str | None) -> list[str]:
    """Return every path that names begin with, outer ones first, or only the one that was given."""
    if prefix is not None:
        return [prefix.rstrip(".")]
    parts = [name.split(".") for name in tensors]
    return sorted({".".join(names[:k]) for names in parts for k in range(len(names))})


def _match(tensors: Tensors, path: str, config: dict[str, Any]) -> tuple[Any, Tensors] | None:
    """Return the format of the tensors below a path, and these by the rest of their names."""
    start = f"{path}." if path else ""
    inner = {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
    forms = (form for form in FORMATS.values() if form.recognises(inner, config))
    form = next(forms, None)
    return None if form is None else (form, inner)
