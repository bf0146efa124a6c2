"""The folder of a run: what is in it, and how it survives being killed at any moment."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .config import TrainConfig


_FILES = (
    "checkpoint.pt",
    "checkpoint-*.pt",
    "metrics.jsonl",
    "cuts.jsonl",
    "samples.txt",
    "result.json",
    "config.json",
)


class RunFolder:
    """config.json, metrics.jsonl, cuts.jsonl, checkpoint.pt, result.json, model/ and plots/ of one run.

    A run on a text also writes samples.txt.

    Files are replaced whole (written beside and renamed), so that a killed run leaves an old file or a new one, never
    half of one; only metrics.jsonl grows, and `rewind` cuts it back to the checkpoint.

    Parameters
    ----------
    path
        The folder; made if need be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics = self.path / "metrics.jsonl"
        self.model = self.path / "model"
        self.plots = self.path / "plots"

    def claim(self, config: TrainConfig, *, fresh: bool = False) -> None:
        """Make the folder the one of `config`, and take away what a kill left half written.

        Parameters
        ----------
        config
            What is going to run here.
        fresh
            Delete what another run, or this one, left here.

        Raises
        ------
        RunError
            If another configuration ran here and `fresh` is False.
        """
        file = self.path / "config.json"
        wanted = json.loads(json.dumps(asdict(config)))
        if fresh:
            self._clear()
        if file.exists():
            got = json.loads(file.read_text(encoding="utf-8"))
            known = {field.name: field.default for field in fields(config)} | got  # an older run did not know all
            differing = [f"{k} {known[k]} (here {v})" for k, v in wanted.items() if known[k] != v]
            if differing:
                message = (
                    f"{self.path} holds a run with other settings: {', '.join(differing)}; "
                    "name another folder, or start afresh"
                )
                raise RunError(message)
        self._delete(".{}.*")
        self._write_json("config.json", wanted)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to the metrics."""
        with self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def write_samples(self) -> None:
        """Replace samples.txt by the samples in the metrics, if there are any."""
        samples = [f"step {line['step']}\n\n{line['sample']}\n\n" for line in self.lines() if "sample" in line]
        if samples:
            self._write_text("samples.txt", "\n".join(samples))

    def lines(self) -> list[dict[str, Any]]:
        """Return the metrics, one dict per line."""
        text = self.metrics.read_text(encoding="utf-8") if self.metrics.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def rewind(self, step: int) -> None:
        """Forget all metrics after `step`, and a line that was not written to its end."""
        kept = [line for line in self.lines() if line["step"] <= step]
        self._write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def cuts(self) -> list[dict[str, Any]]:
        """Return the reductions tried, one dict per layer and attempt."""
        file = self.path / "cuts.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def write_cuts(self, cuts: Iterable[Any]) -> None:
        """Replace cuts.jsonl by `cuts`, one line each."""
        self._write_text("cuts.jsonl", "".join(json.dumps(asdict(cut)) + "\n" for cut in cuts))

    def save(self, checkpoint: dict[str, Any], name: str = "checkpoint.pt") -> None:
        """Replace the checkpoint, or write one that is kept under another name."""
        with _replacing(self.path / name) as temporary:
            torch.save(checkpoint, temporary)

    def fork(self, step: int, into: RunFolder) -> bool:
        """Let another run go on where this one kept a checkpoint of `step`; say whether it did.

        A run whose cuts all fall later has done the same until then, so it has the same result as from its beginning.
        """
        kept = self.load(kept_name(step))
        if kept is None or (into.path / "checkpoint.pt").exists():
            return False
        lines = [line for line in self.lines() if line["step"] <= step]
        into._write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        into.save(kept)
        return True

    def load(self, name: str = "checkpoint.pt") -> dict[str, Any] | None:
        """Return the checkpoint, or None if there is none. Nothing in the file is executed.

        Raises
        ------
        RunError
            If the file cannot be read.
        """
        file = self.path / name
        if not file.exists():
            return None
        try:
            return torch.load(file, weights_only=True)
        except Exception as error:
            message = f"{file} cannot be read ({error}); start the run afresh"
            raise RunError(message) from error

    def write_result(self, result: dict[str, Any]) -> None:
        """Write result.json, which marks the run as finished."""
        self._write_json("result.json", result)

    def result(self) -> dict[str, Any] | None:
        """Return result.json, or None if the run is not finished."""
        file = self.path / "result.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write_text(name, json.dumps(content, indent=2) + "\n")

    def _write_text(self, name: str, text: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with _replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _clear(self) -> None:
        """Delete what says that the run is finished first, and last what says whose the rest is: see `claim`."""
        (self.path / "result.json").unlink(missing_ok=True)
        for folder in (self.model, self.plots):
            shutil.rmtree(folder, ignore_errors=True)
        self._delete("{}")

    def _delete(self, named: str) -> None:
        for name in _FILES:
            for file in self.path.glob(named.format(name)):
                file.unlink(missing_ok=True)


def kept_name(step: int | str) -> str:
    """Return the name of a checkpoint that later ones do not replace."""
    return f"checkpoint-{step}.pt"


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
