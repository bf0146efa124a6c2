"""One token after the other: how a token is drawn, and the loop around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .._errors import OptionError, ShapeError, require
from .._evaluating import evaluating
from .readout import without_padding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from logits: see `LanguageModel.generate`.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        require(
            0 < self.temperature < float("inf"),
            f"got temperature={self.temperature}, wanted a positive number; greedy=True takes the likeliest token",
        )
        require(self.top_k is None or self.top_k >= 1, f"got top_k={self.top_k}, wanted at least 1")
        require(self.top_p is None or 0 < self.top_p <= 1, f"got top_p={self.top_p}, wanted a probability in (0, 1]")

    def draw(self, logits: Float[Tensor, "batch vocab"], generator: torch.Generator | None) -> Int[Tensor, " batch"]:
        """Return a token for each row."""
        if self.greedy:
            return logits.argmax(-1)
        logits = logits.float() / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p is not None:
            logits = _nucleus(logits, self.top_p)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def continuations(
    model: Any,
    prompt: Int[Tensor, "batch length"],
    max_new_tokens: int,
    sampling: Sampling,
    stop: Sequence[int],
    lengths: Int[Tensor, " batch"] | None,
    generator: torch.Generator | None,
) -> Iterator[Int[Tensor, " batch"]]:
    """Check the arguments and return an iterator over the new tokens; see `LanguageModel.generate`."""
    require(max_new_tokens >= 0, f"got max_new_tokens={max_new_tokens}, wanted 0 or more")
    if prompt.ndim != 2 or not prompt.shape[1]:
        message = f"got a prompt of shape {tuple(prompt.shape)}, wanted (batch, length) with at least one token"
        raise ShapeError(message)
    real = without_padding(prompt, lengths)
    if len(prompt) and not 0 <= int(real.min()) <= int(real.max()) < model.config.vocab_size:
        message = f"got tokens {real.min()} to {real.max()}, wanted 0 to {model.config.vocab_size - 1}"
        raise OptionError(message)
    return _tokens(model, prompt, max_new_tokens, sampling, frozenset(stop), lengths, generator)


def _tokens(
    model: Any,
    prompt: Tensor,
    max_new_tokens: int,
    sampling: Sampling,
    stop: frozenset[int],
    lengths: Tensor | None,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    token: Tensor | None = None
    state: Any = None
    finished = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for _ in range(max_new_tokens):
        # Once per token, and not around the loop: whoever takes the tokens has a mode of its own in between.
        with torch.no_grad(), evaluating(model):
            logits, state = _first(model, prompt, lengths) if token is None else model.step(token, state)
            drawn = sampling.draw(logits, generator)
        token = drawn if token is None else torch.where(finished, token, drawn)
        yield token
        if stop:
            finished |= torch.isin(token, torch.tensor(sorted(stop), device=token.device))
            if bool(finished.all()):
                return


def _first(model: Any, prompt: Tensor, lengths: Tensor | None) -> tuple[Tensor, Any]:
    """Read the prompts; return the logits after the last real token of each, and the states."""
    hidden, state = model.hidden(prompt, lengths=lengths, return_state=True)
    last = hidden[:, -1] if lengths is None else hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    return model.logits(last), state


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Leave the fewest likeliest tokens whose probability together is at least `top_p`."""
    ordered, order = logits.sort(-1, descending=True)
    likelier = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # probability of all tokens before
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, likelier >= top_p)
    return logits.masked_fill(dropped, -torch.inf)
