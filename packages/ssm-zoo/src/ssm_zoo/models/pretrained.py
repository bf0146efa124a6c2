"""Models in folders: config.json and model.safetensors. Nothing in such a folder is executed."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from safetensors.torch import load_file, save_file
from torch import nn

from .._errors import OptionError, RunError, require
from .blocks import Stack
from .config import StackConfig, sizes_of

KEY = "model"
"""The name of the class in config.json."""


class Pretrained(nn.Module):
    """A model of a stack of blocks that tells what it is, and that saves and loads as a folder.

    Parameters
    ----------
    config
        The architecture. `model.config` tells it back with the state sizes of this moment, so that a model whose layers
        were reduced saves and loads like any other.
    """

    CONFIG: ClassVar[type[StackConfig]]
    """The class of its configuration."""
    blocks: Stack

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self._config: Any = config

    @property
    def config(self) -> Any:
        """The architecture as it is now: layers and state sizes are read from the blocks."""
        return replace(self._config, **sizes_of(self.blocks, self._config.options))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json`` into `folder`, made if need be; return the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        values = {KEY: type(self).__name__, **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Return the model that `save_pretrained` wrote, in its precision and in evaluation mode.

        Nothing in the folder is executed.

        Models of others: `ssm_zoo.checkpoints.load_checkpoint`.

        Raises
        ------
        RunError
            If the folder holds no model, or one of another kind.
        OptionError
            If its ``config.json`` has names this version does not know.
        """
        values = read_config(folder)
        name = values.pop(KEY, cls.__name__)
        require(name == cls.__name__, f"{folder} holds a {name}, wanted a {cls.__name__}", RunError)
        unknown = set(values) - {field.name for field in fields(cls.CONFIG)}
        if unknown:
            message = f"config.json has unknown names: {', '.join(sorted(unknown))}; was it written by a newer version?"
            raise OptionError(message)
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        model, tensors = cls(cls.CONFIG(**values)), load_file(Path(folder) / "model.safetensors")
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            tensor.data = tensor.data.to(tensors.get(name, tensor).dtype)
        model.load_state_dict(tensors)
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
