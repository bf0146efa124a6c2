"""What a layer saw in one mini-batch, and how it is overheard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    r"""Inputs of a layer and, if a loss was differentiated, $\partial \ell / \partial y$ at its outputs.

    Parameters
    ----------
    inputs
        (batch, length, features).
    gradients
        Of the loss with respect to the outputs; None if there was no backward pass.
    options
        What else the layer was called with that decides what it computes: `lengths` and `padding`, or the mask of
        Transformers.
    """

    inputs: Float[Tensor, "batch length features"]
    gradients: Float[Tensor, "batch length features"] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lengths(self) -> Int[Tensor, " batch"] | None:
        """Return the number of real steps of each sequence, None if all are."""
        return self.options.get("lengths")

    @property
    def is_left_padded(self) -> bool:
        """Say whether the real steps of a sequence come last."""
        mask = self.options.get("attention_mask")
        return self.options.get("padding") == "left" or (mask is not None and not bool(mask[:, 0].all()))

    def split(self) -> tuple[Evidence, Evidence]:
        """Return what is balanced from, and every fourth sequence, on which the error is measured."""
        count = len(self.inputs)
        if count == 1:
            return self, self
        held_out = torch.arange(count, device=self.inputs.device) % 4 == 1
        return self._rows(~held_out), self._rows(held_out)

    def to(self, device: torch.device | str) -> Evidence:
        """Return the same on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def _rows(self, rows: Tensor) -> Evidence:
        return self._map(lambda tensor: tensor[rows])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Evidence:
        options = {k: change(v) if isinstance(v, torch.Tensor) else v for k, v in self.options.items()}
        gradients = None if self.gradients is None else change(self.gradients)
        return Evidence(change(self.inputs), gradients, options)


class Listener:
    """Keeps what layers see in the forward and backward pass of a step, when it is asked to.

    Parameters
    ----------
    layers
        By name.
    wanted
        Says whether the step that is running is worth it.
    most
        How many sequences of the mini-batch are kept, at most; all if None.
    training
        Listen to layers in training mode only.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], wanted: Callable[[], bool], most: int | None, *, training: bool = True
    ) -> None:
        self.wanted, self.most, self.training = wanted, most, training
        self._layers = dict(layers)
        self._inputs: dict[str, tuple[Tensor, dict[str, Any]]] = {}
        self._gradients: dict[str, Tensor] = {}
        self._handles = [
            layer.register_forward_hook(self._hook(name), with_kwargs=True) for name, layer in layers.items()
        ]

    def heard(self, name: str) -> Evidence | None:
        """Return what a layer saw since `forget`, None if nothing."""
        if name not in self._inputs:
            return None
        inputs, options = self._inputs[name]
        return Evidence(inputs, self._gradients.get(name), options)

    def forget(self) -> None:
        """Drop everything."""
        self._inputs.clear()
        self._gradients.clear()

    def remove(self) -> None:
        """Take the hooks off the layers."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self.wanted() and (layer.training or not self.training):
                hear(layer, args, kwargs, output)

        @torch.compiler.disable
        def hear(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if layer is not self._layers[name]:  # a copy of the model has copies of its hooks
                return
            rows = slice(0, self.most)
            known = ("lengths", "padding", "attention_mask")
            options = {key: kwargs[key] for key in known if kwargs.get(key) is not None}
            options = {key: value[rows] if isinstance(value, torch.Tensor) else value for key, value in options.items()}
            inputs: Tensor = args[0] if args else kwargs["x" if "x" in kwargs else "hidden_states"]
            kept = inputs.detach()[rows]
            if torch.is_autocast_enabled(kept.device.type):  # the layer will be run again without it
                kept = kept.float()
            self._inputs[name] = kept, options
            y = tree_leaves(output)[0]
            if y.requires_grad:
                y.register_hook(lambda gradient: self._gradients.__setitem__(name, gradient.detach()[rows]))

        return hook
