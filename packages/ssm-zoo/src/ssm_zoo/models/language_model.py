"""Language models: embedding, blocks, norm, and a head that is the embedding again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.functional import linear

from .._errors import DtypeError, ShapeError, require
from .blocks import Stack
from .config import StackConfig
from .generation import Sampling, continuations
from .pretrained import Pretrained
from .readout import without_padding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from .blocks import States


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(StackConfig):
    """The architecture of a `LanguageModel`, complete.

    Parameters
    ----------
    vocab_size
        Tokens.
    pad_vocab_size_multiple
        The embedding has rows for the next multiple of this; the model never speaks of them.
    tie_embeddings
        Let the head be the embedding.
    layer, d_model, d_state, n_layers, dropout, norm, norm_eps, residual_in_fp32, options
        See `StackConfig`. A language model reads forwards, and takes no batch norm, which sees what is to come.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    vocab_size: int
    layer: str | tuple[str, ...] = "mamba"
    d_model: int = 128
    d_state: int | tuple[int, ...] = 16
    n_layers: int = 2
    dropout: float = 0.0
    norm: Literal["batch", "layer", "rms"] = "rms"
    pad_vocab_size_multiple: int = 8
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        for name in ("vocab_size", "pad_vocab_size_multiple"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        require(self.norm != "batch", "got norm='batch', which sees the rest of the sequence; wanted 'layer' or 'rms'")
        require(not self.bidirectional, "got bidirectional=True, wanted a model that does not see the next token")

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding."""
        return -(-self.vocab_size // self.pad_vocab_size_multiple) * self.pad_vocab_size_multiple


class LanguageModel(Pretrained):
    """logits = norm(blocks(embedding(ids))) Eᵀ, with E the embedding if it is tied, else a matrix of its own.

    Parameters
    ----------
    config
        The architecture; `model.config` tells it back with the state sizes of this moment.
    """

    CONFIG = LanguageModelConfig

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.padded_vocab_size, config.d_model)
        self.blocks = Stack(config)
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.head = None if config.tie_embeddings else nn.Linear(config.d_model, config.padded_vocab_size, bias=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start as the Mamba papers do: small embeddings, and outputs of blocks that add up to one block's."""
        for name, parameter in self.named_parameters():
            if name in ("embedding.weight", "head.weight"):
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("out_proj.weight"):
                parameter.div_(self._config.n_layers**0.5)

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        state: States | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return the logits of every next token, (batch, length, vocab_size), and the last states if `return_state`.

        Parameters
        ----------
        ids
            (batch, length).
        state
            What the call before returned, if these sequences go on.
        lengths
            Steps of each sequence that are real, the rest being padding at its end, whatever is in it; the logits
            there mean nothing. All by default.
        return_state
            Return the states after the last real step too.

        Raises
        ------
        ShapeError, DtypeError
            If the ids are no integers of that shape, or the lengths do not fit.
        """
        hidden, last = self.hidden(ids, state, lengths, return_state)
        logits = self.logits(hidden)
        return (logits, last) if return_state else logits

    def hidden(
        self,
        ids: Int[Tensor, "batch length"],
        state: States | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        return_state: bool = False,
    ) -> tuple[Float[Tensor, "batch length d_model"], States]:
        """Return what goes into `logits`, and the last states if `return_state`: for long prompts, few logits."""
        integers = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
        require(integers, f"got ids of {ids.dtype}, wanted integers", DtypeError)
        require(ids.ndim == 2, f"got ids of shape {tuple(ids.shape)}, wanted (batch, length)", ShapeError)
        x, last = self.blocks(self.embedding(without_padding(ids, lengths)), state, lengths, return_state)
        return self.norm(x.to(self.norm.weight.dtype)), last

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab_size"]:
        """Return the logits of what `hidden` returned."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return linear(hidden, weight)[..., : self._config.vocab_size]

    def step(self, ids_t: Int[Tensor, " batch"], state: States) -> tuple[Float[Tensor, "batch vocab_size"], States]:
        """Return the logits after one token more, and the states after it."""
        x, state = self.blocks.step(self.embedding(ids_t), state)
        return self.logits(self.norm(x.to(self.norm.weight.dtype))), state

    def init_state(self, batch: int) -> States:
        """Return the states before the first token."""
        return self.blocks.init_state(batch)

    def generate(
        self,
        prompt: Int[Tensor, "batch length"],
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: Sequence[int] = (),
        lengths: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
        callback: Callable[[Int[Tensor, " batch"]], None] | None = None,
    ) -> Int[Tensor, "batch new"]:
        """Return the tokens that follow the prompts: one pass over these, then one `step` per token.

        Parameters
        ----------
        prompt
            (batch, length), at least one token each.
        max_new_tokens
            How many at most.
        temperature
            The logits are divided by it.
        top_k
            Draw from so many likeliest tokens only.
        top_p
            Draw from the fewest likeliest tokens that have this probability together only.
        greedy
            Take the likeliest token, and let the three above aside.
        stop
            Tokens after which a sequence is finished; it is then filled with its stop token, and all ends when all
            sequences are finished.
        lengths
            Tokens of each prompt that are real, the rest being padding at its end.
        generator
            Where chance comes from; equal seeds draw equal tokens. Torch's own by default.
        callback
            Called with each new token of all sequences, (batch,), as soon as there is one.

        Raises
        ------
        OptionError, ShapeError, DtypeError
            If an argument is outside its range.
        """
        sampling = Sampling(temperature, top_k, top_p, greedy)
        tokens = []
        for token in continuations(self, prompt, max_new_tokens, sampling, stop, lengths, generator):
            tokens.append(token)
            if callback is not None:
                callback(token)
        return torch.stack(tokens, 1) if tokens else prompt.new_empty(len(prompt), 0)

    def stream(
        self,
        prompt: Int[Tensor, "batch length"],
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: Sequence[int] = (),
        lengths: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Int[Tensor, " batch"]]:
        """Return an iterator over the tokens that `generate` returns, each (batch,), computed when asked for."""
        sampling = Sampling(temperature, top_k, top_p, greedy)
        return continuations(self, prompt, max_new_tokens, sampling, stop, lengths, generator)
