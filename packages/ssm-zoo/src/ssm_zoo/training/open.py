"""A trained model from wherever it lies: the folder of a run, of `save_pretrained`, of mamba_ssm or of Transformers."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .._errors import OptionError, RunError, UnsupportedError, require
from ..checkpoints import load_checkpoint, save_checkpoint
from ..models import LanguageModel, SequenceClassifier, SequenceRegressor
from ..models.pretrained import KEY

Format: TypeAlias = Literal["own", "hf", "mamba_ssm"]
"""Of a folder with a model: that of `save_pretrained`, of Transformers, of mamba_ssm."""

KINDS: dict[str, Any] = {kind.__name__: kind for kind in (SequenceClassifier, SequenceRegressor, LanguageModel)}

_OF_TOKENIZERS = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "generation_config.json")


@dataclass(frozen=True)
class Opened:
    """A model and where it came from.

    Parameters
    ----------
    model
        In evaluation mode.
    folder
        What was opened.
    format
        What it is saved in again.
    config
        config.json of the run, if it was one: its task, length and seed.
    """

    model: Any
    folder: Path
    format: Format
    config: dict[str, Any] | None = None


def open_model(folder: str | Path) -> Opened:
    """Return the model in a folder, whatever wrote it. Nothing in the folder is executed.

    Parameters
    ----------
    folder
        Of a finished run; or what `save_pretrained` wrote, of a model here or of Mamba or Mamba-2 in Transformers; or a
        checkpoint of mamba_ssm.

    Raises
    ------
    RunError
        If there is no model.
    OptionError, UnsupportedError
        If it is none of these, or a layer without a model around it.
    """
    folder = Path(folder)
    if (folder / "metrics.jsonl").exists() or (folder / "result.json").exists():
        return _of_run(folder)
    file = folder / "config.json"
    weights = any(folder.glob("*.safetensors*")) or any(folder.glob("pytorch_model.bin*"))
    wanted = "a finished run, or a folder with config.json and model.safetensors or pytorch_model.bin"
    require(weights, f"{folder} holds no model: wanted {wanted}", RunError)
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if config.get(KEY) in KINDS:
        return Opened(KINDS[config[KEY]].from_pretrained(folder), folder, "own")
    model = load_checkpoint(folder)
    alone = f"{folder} holds a {type(model).__name__} without a model around it; reduce it in Python by reduce_model"
    require(isinstance(model, LanguageModel), alone, UnsupportedError)
    return Opened(model, folder, "hf" if "model_type" in config else "mamba_ssm")


def save_model_as(opened: Opened, folder: str | Path, format: Format | None = None) -> Path:  # noqa: A002
    """Write the model, in the format that it came in unless another is named, and return the folder.

    What the folder that was opened says about tokens (tokenizer, configuration of the generation, numbers of special
    tokens) is handed on where the format is that of Transformers.

    Raises
    ------
    UnsupportedError
        If the format cannot hold the model.
    """
    folder, form = Path(folder), format or opened.format
    if form == "own":
        return opened.model.save_pretrained(folder)
    save_checkpoint(opened.model, folder, form)
    if form == opened.format == "hf":
        _hand_on(opened.folder, folder)
    return folder


def new_folder(folder: str | Path) -> Path:
    """Return the folder as a path.

    Raises
    ------
    OptionError
        If there is something in it.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} is not empty; name a folder that does not exist yet"
        raise OptionError(message)
    return folder


def _of_run(folder: Path) -> Opened:
    ended = f"{folder} holds a run that is not finished; give the command that started it again"
    require((folder / "model" / "config.json").is_file(), ended, RunError)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Opened(open_model(folder / "model").model, folder, "own", config)


def _hand_on(source: Path, folder: Path) -> None:
    for pattern in _OF_TOKENIZERS:
        for file in source.glob(pattern):
            shutil.copyfile(file, folder / file.name)
    old, new = (json.loads((place / "config.json").read_text(encoding="utf-8")) for place in (source, folder))
    kept = {name: value for name, value in old.items() if new.get(name) is None and name != "torch_dtype"}
    (folder / "config.json").write_text(json.dumps(new | kept, indent=2) + "\n", encoding="utf-8")
