"""Sequence classifiers made of state-space blocks, each block with a state size of its own.

Glossary
--------
d_input    features of the sequence at each step
d_model    features between the blocks (H in the papers)
d_state    complex slots of a layer's state (N in the papers); one number per block
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ._errors import OptionError, RunError, ShapeError, require
from .blocks import Block
from .layers import LRU, S5, DiagonalLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

LAYERS: dict[str, tuple[Callable[..., DiagonalLayer], tuple[str, ...]]] = {
    "lru": (LRU, ("r_min", "r_max", "max_phase")),
    "s5": (S5, ("dt_min", "dt_max")),
}
"""What a block can hold, by name: the class, and the fields of `ClassifierConfig` that only this class reads."""


@dataclass(frozen=True)
class ClassifierConfig:
    """The architecture of a `SequenceClassifier`, complete.

    Parameters
    ----------
    d_input, n_classes
        Features of each step of the input; number of classes.
    layer
        A name in `LAYERS`.
    d_model, n_layers
        Features between the blocks; number of blocks.
    d_state
        Complex slots of the state: one number for all blocks, or one per block. Stored per block.
    dropout
        Probability of dropping a feature, in [0, 1).
    norm
        ``"batch"`` (without scale and shift, as in the LRU paper) or ``"layer"``.
    bidirectional
        Let every layer read the sequence in both directions.
    r_min, r_max, max_phase
        LRU: the ring in which the poles begin; phase in radians.
    dt_min, dt_max
        S5: the range of the initial time steps, in seconds.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    d_input: int
    n_classes: int
    layer: str = "lru"
    d_model: int = 8
    d_state: int | tuple[int, ...] = 128
    n_layers: int = 2
    dropout: float = 0.1
    norm: Literal["batch", "layer"] = "batch"
    bidirectional: bool = False
    r_min: float = 0.9
    r_max: float = 0.999
    max_phase: float = 2 * torch.pi
    dt_min: float = 1e-3
    dt_max: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "d_state", self.states)
        for name in ("d_input", "n_classes", "d_model", "n_layers"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        require(self.layer in LAYERS, f"got layer={self.layer!r}, wanted one of: {', '.join(LAYERS)}")
        require(self.norm in ("batch", "layer"), f"got norm={self.norm!r}, wanted 'batch' or 'layer'")
        require(0 <= self.dropout < 1, f"got dropout={self.dropout}, wanted a probability in [0, 1)")
        require(min(self.states, default=0) >= 1, f"got d_state={self.d_state}, wanted at least 1 in every block")
        require(
            len(self.states) == self.n_layers,
            f"got d_state={self.d_state} for {self.n_layers} blocks, wanted one number, or one per block",
        )

    @property
    def states(self) -> tuple[int, ...]:
        """State size of every block, first block first."""
        return (self.d_state,) * self.n_layers if isinstance(self.d_state, int) else tuple(self.d_state)

    def make_layer(self, d_state: int) -> DiagonalLayer:
        """Return a fresh layer with `d_state` slots."""
        layer, own = LAYERS[self.layer]
        options = {name: getattr(self, name) for name in own}
        return layer(self.d_model, d_state, bidirectional=self.bidirectional, **options)


class SequenceClassifier(nn.Module):
    """logits = head(mean over time of the blocks applied to encoder(inputs)).

    Parameters
    ----------
    config
        The architecture. `model.config` tells it back with the state sizes of this moment, so that a model whose layers
        were reduced saves and loads like any other.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self._config = config
        self.encoder = nn.Linear(config.d_input, config.d_model)
        self.blocks = nn.ModuleList(
            Block(config.make_layer(d_state), config.d_model, config.dropout, config.norm) for d_state in config.states
        )
        self.head = nn.Linear(config.d_model, config.n_classes)

    @property
    def config(self) -> ClassifierConfig:
        """The architecture as it is now: `d_state` is read from the layers."""
        layers = [module.layer for module in self.blocks if isinstance(module, Block)]
        return replace(self._config, d_state=tuple(layer.d_state for layer in layers))

    def forward(
        self, inputs: Float[Tensor, "batch length d_input"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch n_classes"]:
        """Return the logits.

        Parameters
        ----------
        inputs
            (batch, length, d_input).
        lengths
            Steps of each sequence that are real, the rest being padding at its end: only they enter the mean. All by
            default. (Batch normalisation still sees the padding, as does the backward pass of bidirectional layers.)

        Raises
        ------
        ShapeError
            If the shapes are not the ones above.
        """
        d_input = self._config.d_input
        if inputs.ndim != 3 or inputs.shape[-1] != d_input:
            message = f"got inputs of shape {tuple(inputs.shape)}, wanted (batch, length, d_input={d_input})"
            raise ShapeError(message)
        x = self.encoder(inputs)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=1) if lengths is None else _masked_mean(x, lengths))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json`` into `folder`, made if need be; return the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / "model.safetensors"
        )
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SequenceClassifier:
        """Return the model that `save_pretrained` wrote, in evaluation mode. Nothing in the folder is executed.

        Raises
        ------
        RunError
            If the folder holds no model.
        OptionError
            If its ``config.json`` has names this version does not know.
        """
        folder = Path(folder)
        try:
            values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "model.safetensors")
        except FileNotFoundError as error:
            message = f"{folder} holds no model: wanted the config.json and model.safetensors of save_pretrained"
            raise RunError(message) from error
        model = cls(_config_from(values))
        model.load_state_dict(tensors)
        return model.eval()


def param_groups(
    model: nn.Module, lr: float, weight_decay: float = 0.0, ssm_lr_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return optimiser groups: the recurrences (slower, no decay), the weights (decay), norms and biases (no decay).

    The recurrence of a layer is all but its output maps C and D: poles, time steps and input map.

    Parameters
    ----------
    model
        A model whose state-space layers have a method `system`.
    lr
        Learning rate of all but the recurrences, whose rate is `lr * ssm_lr_factor`.
    weight_decay
        Decay of the matrices outside the recurrences.
    ssm_lr_factor
        See `lr`; the papers use 0.1 to 1.

    References
    ----------
    A. Gu et al., Efficiently modeling long sequences with structured state spaces, ICLR 2022, appendix D.
    """
    recurrent = {
        id(parameter)
        for module in model.modules()
        if callable(getattr(module, "system", None))
        for name, parameter in module.named_parameters()
        if not name.rpartition(".")[2].startswith(("C", "D"))
    }
    groups: dict[str, list[nn.Parameter]] = {"recurrence": [], "weights": [], "rest": []}
    for parameter in model.parameters():
        kind = "recurrence" if id(parameter) in recurrent else "weights" if parameter.ndim > 1 else "rest"
        groups[kind].append(parameter)
    rates = {"recurrence": lr * ssm_lr_factor}
    decays = {"weights": weight_decay}
    return [
        {"params": parameters, "name": name, "lr": rates.get(name, lr), "weight_decay": decays.get(name, 0.0)}
        for name, parameters in groups.items()
        if parameters
    ]


def _masked_mean(
    x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch d_model"]:
    if lengths.shape != x.shape[:1] or not bool(((lengths >= 1) & (lengths <= x.shape[1])).all()):
        message = f"got lengths {lengths.tolist()}, wanted {x.shape[0]} numbers from 1 to {x.shape[1]}"
        raise ShapeError(message)
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (batch, length)
    return torch.where(real[..., None], x, 0).sum(dim=1) / lengths[:, None]


def _config_from(values: dict[str, Any]) -> ClassifierConfig:
    unknown = set(values) - {field.name for field in fields(ClassifierConfig)}
    if unknown:
        message = f"config.json has unknown names: {', '.join(sorted(unknown))}; was it written by a newer version?"
        raise OptionError(message)
    options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return ClassifierConfig(**options)
