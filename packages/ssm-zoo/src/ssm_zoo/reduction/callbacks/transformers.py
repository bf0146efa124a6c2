"""The reducer as a callback of the Trainer of Transformers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..._errors import OptionError, UnsupportedError, require
from ..adapters import follow_state_size
from ..reducer import InTrainingReducer
from ..resizing import resize_on_load
from ._base import base_class

if TYPE_CHECKING:
    from torch import nn

    from ..schedule import Schedule
    from ..selection import HowMany

_FILE = "reduction.pt"


class TransformersReducer(base_class("TrainerCallback", "transformers")):  # type: ignore[misc]
    """Shrinks the state of the layers of a model as Transformers' Trainer trains it.

    Give it to the Trainer in `callbacks`. Checkpoints get a file with what the reducer knows;
    `trainer.train(resume_from_checkpoint=...)` takes a model as it was first built, and makes it as small as it was.
    The configuration follows where all mixers have one size.

    Parameters
    ----------
    schedule, selection
        When and how many; see `InTrainingReducer`.
    wrapped
        Returns the wrapped model, which a callback is not told: `lambda: trainer.model_wrapped`. Only for training in
        several processes.
    options
        Other arguments of `InTrainingReducer`.
    """

    def __init__(
        self,
        schedule: Schedule | Callable[[int], bool],
        selection: HowMany,
        *,
        wrapped: Callable[[], nn.Module] | None = None,
        **options: Any,
    ) -> None:
        self._arguments, self._wrapped, self._options = (schedule, selection), wrapped, options
        self.reducer: InTrainingReducer | None = None

    def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Let the checkpoint of a smaller model be loaded."""
        del args, state, control
        resize_on_load(given["model"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Make the reducer; go on where a checkpoint was made."""
        del control
        alone = args.world_size == 1 or self._wrapped is not None
        require(alone, "got no `wrapped`, wanted lambda: trainer.model_wrapped, in several processes", OptionError)
        optimizer = getattr(given["optimizer"], "optimizer", given["optimizer"])  # Accelerate wraps it
        model = given["model"] if self._wrapped is None else self._wrapped()
        self.reducer = InTrainingReducer(model, optimizer, *self._arguments, **self._options)
        file = self._file(args, state)
        if state.global_step and file.exists():
            self.reducer.load_state_dict(torch.load(file, weights_only=True))
            _configure(given["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Count a step, and reduce if it is time."""
        del args, state, control
        if self.reducer is not None and any(cut.status == "cut" for cut in self.reducer.step()):
            _configure(given["model"])

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Write what the reducer knows beside the checkpoint."""
        del control, given
        if self.reducer is not None and state.is_world_process_zero:
            torch.save(self.reducer.state_dict(), self._file(args, state))

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Take the reducer's hooks off."""
        del args, state, control, given
        if self.reducer is not None:
            self.reducer.remove()

    def _file(self, args: Any, state: Any) -> Path:
        return Path(args.output_dir) / f"checkpoint-{state.global_step}" / _FILE


def _configure(model: Any) -> None:
    with suppress(UnsupportedError):  # no mixers, or of different sizes: the configuration cannot say so
        follow_state_size(model)
