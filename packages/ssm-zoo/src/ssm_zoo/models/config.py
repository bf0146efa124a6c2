"""What all models have in common: a stack of blocks, each around a layer with a state size of its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .. import layers
from .._errors import OptionError, require

if TYPE_CHECKING:
    from torch import nn

LAYERS: dict[str, type[nn.Module]] = {
    "lru": layers.LRU,
    "s4": layers.S4,
    "s4d": layers.S4D,
    "s5": layers.S5,
    "mamba": layers.Mamba,
    "mamba2": layers.Mamba2,
}
"""What a block can hold, by name."""

PLAIN = ("mamba", "mamba2")
"""Layers that have gates of their own: their block is x + layer(norm(x)) and nothing else."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The blocks of a model, complete; what the configurations of all models share.

    Parameters
    ----------
    layer
        A name in `LAYERS` for all blocks, or one per block.
    d_model, n_layers
        Features between the blocks; number of blocks.
    d_state
        State size of the layers: one number for all blocks, or one per block. Stored per block.
    d_unmixed
        Rows of B and C before they are mixed to `d_state`, where a reduction has mixed a `Mamba2`: one number, or one
        per block; None for no mixing.
    dropout
        Probability of dropping a feature, in [0, 1).
    norm
        Of the blocks around layers without gates of their own: ``"batch"`` (without scale and shift, as in the LRU
        paper), ``"layer"`` or ``"rms"``. Those around Mamba and Mamba-2 always take RMS.
    norm_eps
        What RMS normalisation adds to the mean square.
    bidirectional
        Let every layer read the sequence in both directions.
    residual_in_fp32
        Keep what goes past the Mamba blocks in single precision when the parameters are in half.
    options
        Further arguments of the layers, by their name in `LAYERS`: ``{"mamba": {"expand": 1}}``. The `discretization`
        of S4D can be one per block, None for blocks of other layers: where reductions made S4D of some of them.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    layer: str | tuple[str, ...] = "lru"
    d_model: int = 8
    d_state: int | tuple[int, ...] = 128
    d_unmixed: int | tuple[int | None, ...] | None = None
    n_layers: int = 2
    dropout: float = 0.1
    norm: Literal["batch", "layer", "rms"] = "batch"
    norm_eps: float = 1e-5
    bidirectional: bool = False
    residual_in_fp32: bool = True
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "d_state", self.states)
        for name in ("d_model", "n_layers"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        for name in {*self.names, *self.options}:
            require(name in LAYERS, f"got layer={name!r}, wanted one of: {', '.join(LAYERS)}")
        require(self.norm in ("batch", "layer", "rms"), f"got norm={self.norm!r}, wanted 'batch', 'layer' or 'rms'")
        require(0 <= self.dropout < 1, f"got dropout={self.dropout}, wanted a probability in [0, 1)")
        require(self.norm_eps > 0, f"got norm_eps={self.norm_eps}, wanted a positive number")
        require(min(self.states, default=0) >= 1, f"got d_state={self.d_state}, wanted at least 1 in every block")
        for name, values in (("d_state", self.states), ("layer", self.names), ("d_unmixed", self.unmixed)):
            wanted = f"got {name}={getattr(self, name)} for {self.n_layers} blocks, wanted one, or one per block"
            require(len(values) == self.n_layers, wanted)
        for k, name in enumerate(self.names):
            self._check_options(name, k)

    @property
    def states(self) -> tuple[int, ...]:
        """State size of every block, first block first."""
        return (self.d_state,) * self.n_layers if isinstance(self.d_state, int) else tuple(self.d_state)

    @property
    def unmixed(self) -> tuple[int | None, ...]:
        """Rows of B and C before they are mixed, of every block; None for no mixing."""
        return self.d_unmixed if isinstance(self.d_unmixed, tuple) else (self.d_unmixed,) * self.n_layers

    @property
    def names(self) -> tuple[str, ...]:
        """Layer name of every block, first block first."""
        return (self.layer,) * self.n_layers if isinstance(self.layer, str) else tuple(self.layer)

    def make_layer(self, d_state: int, block: int = 0) -> nn.Module:
        """Return a fresh layer for a block, with the given state size."""
        name = self.names[block]
        return LAYERS[name](self.d_model, d_state, **self._options(name, block))

    def _options(self, name: str, block: int) -> dict[str, Any]:
        both: dict[str, Any] = {"bidirectional": True} if self.bidirectional else {}
        mixed = {} if self.unmixed[block] is None else {"d_unmixed": self.unmixed[block]}
        own = dict(self.options.get(name, {}))
        each = own.get("discretization")
        if isinstance(each, (list, tuple)):
            wanted = f"got discretization={each} for {self.n_layers} blocks, wanted one, or one per block"
            require(len(each) == self.n_layers, wanted)
            own["discretization"] = each[block]
        return both | mixed | own

    def _check_options(self, name: str, block: int) -> None:
        parameters = inspect.signature(LAYERS[name]).parameters
        known = set(parameters) - {"d_model", "d_state"}
        unknown = set(self._options(name, block)) - known
        if unknown:
            message = f"{name} has no option {', '.join(sorted(unknown))}; it has: {', '.join(sorted(known))}"
            raise OptionError(message)


def sizes_of(blocks: nn.ModuleList, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `layer`, `d_state`, `d_unmixed` and `options` of the blocks as they are, whatever was reduced or replaced.

    Parameters
    ----------
    blocks
        Each with a `layer`.
    options
        Those that the blocks were made with.

    Raises
    ------
    OptionError
        If a configuration cannot tell what the blocks hold.
    """
    held: list[Any] = [block.layer for block in blocks]
    names = tuple(_name_of(layer) for layer in held)
    unmixed = tuple(getattr(layer, "d_unmixed", None) for layer in held)
    return {
        "layer": names[0] if len(set(names)) == 1 else names,
        "d_state": tuple(layer.d_state for layer in held),
        "d_unmixed": None if set(unmixed) == {None} else unmixed,
        "options": {**options, **_of_s4d(held, options)},
    }


def _of_s4d(held: list[Any], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the options of S4D layers: those that a reduction made of S4 are bilinear, whatever the default is."""
    each = [layer.discretization if type(layer) is layers.S4D else None for layer in held]
    rules = set(each) - {None}
    if rules <= {"zoh"}:
        return {}
    return {"s4d": {**options.get("s4d", {}), "discretization": each if len(rules) > 1 else rules.pop()}}


def _name_of(layer: nn.Module) -> str:
    for name, kind in LAYERS.items():
        if type(layer) is kind:
            return name
    message = f"a block holds a {type(layer).__name__}, wanted one of: {', '.join(LAYERS)}"
    raise OptionError(message)
