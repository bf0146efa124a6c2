"""Folders with weights and a config.json, in the ways that people store them. Nothing in them is executed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .._errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "dict[str, Tensor]"


def read_folder(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the config.json of a folder.

    The tensors are in model.safetensors or pytorch_model.bin, or in the shards that their ``.index.json`` names.

    Raises
    ------
    RunError
        If there are none, or a file holds more than tensors.
    """
    config = folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    for name, read in (("model.safetensors", load_file), ("pytorch_model.bin", _read_bin)):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return read(folder / name), values
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return {k: v for shard in shards for k, v in read(_inside(folder, shard)).items()}, values
    message = f"{folder} holds no weights: wanted model.safetensors or pytorch_model.bin, whole or in shards"
    raise RunError(message)


def write_folder(folder: Path, tensors: Tensors, config: Mapping[str, Any], file: str) -> Path:
    """Write the tensors to `file` and the config beside it; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    if file.endswith(".safetensors"):
        save_file(tensors, folder / file, metadata={"format": "pt"})  # without it, Transformers refuses the file
    else:
        torch.save(tensors, folder / file)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the arrays of a state dict or of a tree such as Flax has, by their path with dots."""
    for name, value in tree.items():
        path = f"{prefix}{str(name).replace('/', '.')}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}.")
        else:
            yield path, value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))


def _read_bin(file: Path) -> Tensors:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        message = f"{file} cannot be read as tensors and nothing else: {error}"
        raise RunError(message) from error


def _inside(folder: Path, name: str) -> Path:
    file = folder / name
    if file.parent.resolve() != folder.resolve():
        message = f"the index of {folder} names a file outside of it: {name}"
        raise RunError(message)
    return file
