"""Models in folders: config.json and model.safetensors. Nothing in such a folder is executed."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors.torch import load_file, save_file

from .._errors import OptionError, RunError, require

if TYPE_CHECKING:
    from torch import nn

    Model = TypeVar("Model", bound=nn.Module)

KEY = "model"
"""The name of the class in config.json."""


def save_model(model: nn.Module, folder: str | Path) -> Path:
    """Write ``model.safetensors`` and ``config.json`` into `folder`, made if need be; return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    values = {KEY: type(model).__name__, **asdict(model.config)}  # type: ignore[call-overload]
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return folder


def load_model(kind: type[Model], config: type[Any], folder: str | Path) -> Model:
    """Return the `kind` of model that `save_model` wrote, in evaluation mode.

    Raises
    ------
    RunError
        If the folder holds no model, or one of another kind.
    OptionError
        If its ``config.json`` has names this version does not know.
    """
    values = read_config(folder)
    name = values.pop(KEY, kind.__name__)
    require(name == kind.__name__, f"{folder} holds a {name}, wanted a {kind.__name__}", RunError)
    unknown = set(values) - {field.name for field in fields(config)}
    if unknown:
        message = f"config.json has unknown names: {', '.join(sorted(unknown))}; was it written by a newer version?"
        raise OptionError(message)
    model = kind(config(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}))
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return config.json of a folder that also holds model.safetensors.

    Raises
    ------
    RunError
        If the folder holds no model.
    """
    files = [Path(folder) / name for name in ("config.json", "model.safetensors")]
    if not all(file.is_file() for file in files):
        message = f"{folder} holds no model: wanted the config.json and model.safetensors of save_pretrained"
        raise RunError(message)
    return json.loads(files[0].read_text(encoding="utf-8"))
