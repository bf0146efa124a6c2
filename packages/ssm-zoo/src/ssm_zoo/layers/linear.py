"""What layers that are linear and time-invariant share: a feedthrough, directions, and parameters that are replaced."""

from __future__ import annotations

from abc import abstractmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import ShapeError, require
from .layer import Layer
from .padding import right_padded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float, Int

_HALF = (torch.float16, torch.bfloat16)


class LinearLayer(Layer):
    """A layer with a map that does not depend on its input. Where a method takes `p`, it reads parameters from it."""

    D: nn.Parameter

    def __init__(self, d_model: int, d_state: int, *, bidirectional: bool, scan: Any) -> None:
        super().__init__()
        require(d_model >= 1, f"got d_model={d_model}, wanted at least 1")
        require(d_state >= 1, f"got d_state={d_state}, wanted at least 1")
        self.d_model, self.bidirectional, self.scan = d_model, bidirectional, scan
        self.D = nn.Parameter(torch.randn(d_model))

    def _finish(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Mark the parameters that want no weight decay, for trainers that look at it, and move all of them."""
        for name, parameter in self.named_parameters():
            if not name.startswith("C"):
                parameter._no_weight_decay = True  # type: ignore[attr-defined]
            if not name.startswith(("C", "D")):
                parameter._optim = {"weight_decay": 0.0}  # type: ignore[attr-defined]
        self.to(device=device, dtype=dtype)

    @torch.no_grad()
    def second_moment(
        self, inputs: Float[Tensor, "batch length H"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "*H 2n 2n"]:
        r"""Return $E[\xi \xi^T]$ over the batch and time, in double precision, from a state at rest.

        Both directions of a bidirectional layer are averaged. Where every feature has a state of its own, there is one
        moment for each.

        Parameters
        ----------
        inputs
            Sequences, padded on the right if they have `lengths`.
        lengths
            How many steps of each are real.

        Raises
        ------
        ShapeError
            If the inputs do not fit the layer, or there is nothing to average over.
        """
        wanted = f"(batch, length, {self.d_model}) with at least one step"
        require(
            inputs.ndim == 3 and inputs.shape[-1] == self.d_model and inputs.numel() > 0,
            f"got inputs of shape {tuple(inputs.shape)}, wanted {wanted}",
            ShapeError,
        )
        return self._second_moment(right_padded(inputs, lengths, "right")[0], lengths)

    @abstractmethod
    def _second_moment(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the same of inputs that fit, zero behind their real steps."""

    def _replace(self, values: Mapping[str, Tensor]) -> None:
        """Put new parameters, of whatever shape, in the place of the old ones."""
        for name, value in values.items():
            old = self.get_parameter(name)
            new = nn.Parameter(value.to(old, copy=True), requires_grad=old.requires_grad)
            new.__dict__.update(old.__dict__)
            setattr(self, name, new)

    def _state_dtype(self) -> torch.dtype:
        """Return the precision of complex states: single at least."""
        return torch.promote_types(self.D.dtype, torch.float32).to_complex()

    def _raised(self) -> Any:
        """Return what the parameters are read from: a recurrence in half precision would be of no use."""
        if self.D.dtype not in _HALF:
            return self
        return SimpleNamespace(**{name: value.float() for name, value in self.named_parameters()})

    def _double(self) -> SimpleNamespace:
        return SimpleNamespace(**{name: value.detach().double() for name, value in self.named_parameters()})
