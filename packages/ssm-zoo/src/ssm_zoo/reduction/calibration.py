"""What the layers of a trained model see on batches of data: the evidence for a reduction after training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch.nn.functional import cross_entropy, pad

from .._errors import OptionError, require
from .._evaluating import evaluating
from .evidence import Evidence, Listener

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch: TypeAlias = "Tensor | tuple[Tensor, Tensor] | Mapping[str, Any]"
"""Inputs; or inputs and labels; or the keyword arguments of a model that returns its `loss`, as in Transformers."""

Loss: TypeAlias = "Callable[[nn.Module, Any], Tensor | None]"
"""Runs the model on a batch and returns the loss to differentiate, or None if there is none."""


def calibrate(
    model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Batch], loss: Loss | None = None
) -> dict[str, Evidence]:
    """Return what each layer sees while the model, in evaluation mode, runs over the batches.

    Where a batch has labels the loss is differentiated too, and the evidence holds the gradients at the outputs. The
    model is left as it was: its mode, its gradients and the random numbers.

    Parameters
    ----------
    model
        Runs on the batches.
    layers
        Which layers to listen to, by name.
    batches
        At least one. Sequences of different lengths are filled up on the side of their padding, or else at the end.
    loss
        `default_loss` if None.

    Raises
    ------
    OptionError
        If there are no batches, or a layer never ran.
    """
    batches = some(batches)
    heard: dict[str, list[Evidence]] = {name: [] for name in layers}
    listener = Listener(layers, lambda: True, None, training=False)
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]), torch.enable_grad():
            for batch in batches:
                _run(model, batch, loss or default_loss)
                for name, found in heard.items():
                    one = listener.heard(name)
                    require(one is not None, f"layer {name!r} did not run on a batch; wanted a model that uses it")
                    found.append(one)  # type: ignore[arg-type]
                listener.forget()
    finally:
        listener.remove()
    return {name: _joined(found) for name, found in heard.items()}


def default_loss(model: nn.Module, batch: Batch) -> Tensor | None:
    """Return the cross entropy of the labels, or the loss that the model returns; None for bare inputs."""
    if isinstance(batch, Mapping):
        return getattr(model(**batch), "loss", None)
    if isinstance(batch, torch.Tensor):
        model(batch)
        return None
    inputs, labels = batch
    lengths = getattr(batch, "lengths", None)
    out = model(inputs) if lengths is None else model(inputs, lengths=lengths)
    logits = getattr(out, "logits", out)
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


def mean_loss(model: nn.Module, batches: Sequence[Batch], loss: Loss | None = None) -> float | None:
    """Return the mean loss over the batches in evaluation mode; None if they have no labels."""
    with evaluating(model), torch.no_grad():
        values = [(loss or default_loss)(model, batch) for batch in batches]
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def some(batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches as a list.

    Raises
    ------
    OptionError
        If there are none.
    """
    found = list(batches)
    if not found:
        message = "got no batches; wanted at least one to see what the layers see"
        raise OptionError(message)
    return found


def _run(model: nn.Module, batch: Batch, loss: Loss) -> None:
    value = loss(model, batch)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if value is not None and value.requires_grad:
        torch.autograd.grad(value, learnt, allow_unused=True)  # for the hooks; leaves every .grad alone


def _joined(found: Sequence[Evidence]) -> Evidence:
    """Put evidence under each other, each sequence filled up to the longest on the side that its padding is on."""
    steps = [one.inputs.shape[1] for one in found]
    most, left = max(steps), any(one.is_left_padded for one in found)
    options = [dict(one.options) for one in found]
    if min(steps) < most or any("lengths" in one for one in options):
        for one, evidence in zip(options, found, strict=True):
            if "attention_mask" not in one:
                full = torch.full((len(evidence.inputs),), evidence.inputs.shape[1])
                one.setdefault("lengths", full.to(evidence.inputs.device))
                one["padding"] = "left" if left else "right"

    def together(values: Sequence[Any]) -> Any:
        if not isinstance(values[0], torch.Tensor):
            return values[0]
        return torch.cat([value if value.ndim == 1 else _filled(value, most, left) for value in values])

    gradients = [one.gradients for one in found]
    have = all(one is not None for one in gradients)
    return Evidence(
        together([one.inputs for one in found]),
        together(gradients) if have else None,
        {name: together([one[name] for one in options]) for name in options[0]},
    )


def _filled(value: Tensor, steps: int, left: bool) -> Tensor:
    missing = steps - value.shape[1]
    return pad(value, [0, 0] * (value.ndim - 2) + ([missing, 0] if left else [0, missing]))
