"""The reducer as a callback of Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..._errors import UnsupportedError, require
from ..reducer import InTrainingReducer
from ..resizing import resize_on_load
from ._base import base_class

if TYPE_CHECKING:
    from ..schedule import Schedule
    from ..selection import HowMany


class LightningReducer(base_class("Callback", "lightning.pytorch", "pytorch_lightning")):  # type: ignore[misc]
    """Shrinks the state of the layers of a `LightningModule` as it trains, and its `WeightAveraging` along with it.

    A step is one of the optimiser, whatever `accumulate_grad_batches` is. Checkpoints hold what the reducer knows;
    `trainer.fit(module, ckpt_path=...)` takes a module as it was first built, and makes it as small as it was.

    Parameters
    ----------
    schedule, selection
        When and how many; see `InTrainingReducer`.
    options
        Its other arguments.
    """

    def __init__(self, schedule: Schedule | Callable[[int], bool], selection: HowMany, **options: Any) -> None:
        self._arguments, self._options = (schedule, selection), options
        self._state: dict[str, Any] | None = None
        self._steps = 0
        self.reducer: InTrainingReducer | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let the checkpoint of a smaller model be loaded."""
        del trainer, stage
        self._handle = resize_on_load(pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Take the hooks off."""
        del trainer, pl_module, stage
        self._handle.remove()
        if self.reducer is not None:
            self.reducer.remove()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the reducer."""
        del pl_module
        count = len(trainer.optimizers)
        require(count == 1, f"got {count} optimizers, wanted one: call an InTrainingReducer yourself", UnsupportedError)
        averages = [getattr(callback, "_average_model", None) for callback in trainer.callbacks]
        followers = [average for average in averages if average is not None]
        options = {"followers": followers} | self._options
        self.reducer = InTrainingReducer(trainer.strategy.model, trainer.optimizers[0], *self._arguments, **options)
        self._steps = trainer.global_step
        if self._state is not None:
            self.reducer.load_state_dict(self._state)

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        """Count a step if the optimiser made one, and reduce if it is time."""
        del rest
        if self.reducer is not None and trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.reducer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what the reducer knows."""
        return self.reducer.state_dict() if self.reducer is not None else (self._state or {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it for the reducer, which is made when training starts."""
        self._state = state_dict or None
