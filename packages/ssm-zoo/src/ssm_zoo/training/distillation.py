r"""The loss of a training step: cross entropy and, where asked for, a teacher's opinion and the Hankel nuclear norm.

$(1 - w)\,\mathrm{CE}(z, y) + w\,T^2\,\mathrm{KL}(\mathrm{softmax}(z_t / T) \,\|\, \mathrm{softmax}(z / T))
+ \gamma \sum \sigma$, with the logits z of the model and $z_t$ of the teacher.

References
----------
G. Hinton, O. Vinyals, J. Dean, Distilling the knowledge in a neural network, arXiv 1503.02531.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from ..reduction.regularization import hankel_nuclear_norm
from ..tasks import Split
from .open import open_model

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from .config import TrainConfig


def outputs(model: nn.Module, split: Split) -> Tensor:
    """Return the logits, telling the model which steps are real where that is known."""
    lengths = split.lengths
    return model(split.inputs) if lengths is None else model(split.inputs, lengths=lengths)


def judge(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Return the mean cross entropy, and how many labels are the likeliest class."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    return cross_entropy(logits, labels), int((logits.detach().argmax(dim=1) == labels).sum())


def distillation_loss(
    student: Float[Tensor, "*batch classes"], teacher: Float[Tensor, "*batch classes"], temperature: float = 2.0
) -> Float[Tensor, ""]:
    r"""Return $T^2\,\mathrm{KL}(\mathrm{softmax}(z_t / T) \,\|\, \mathrm{softmax}(z / T))$, the mean over all labels.

    Parameters
    ----------
    student, teacher
        Logits.
    temperature
        T.
    """
    ours, theirs = (log_softmax(logits.flatten(0, -2) / temperature, dim=-1) for logits in (student, teacher))
    return temperature**2 * kl_div(ours, theirs, reduction="batchmean", log_target=True)


class TrainingLoss:
    """What a run minimises.

    Parameters
    ----------
    config
        Of the run; its teacher is loaded, and stays as it is.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.teacher = None if config.teacher is None else open_model(config.teacher).model.to(config.device).eval()

    def __call__(self, model: nn.Module, batch: Split) -> tuple[Tensor, float, int]:
        """Return what to differentiate, the cross entropy, and how many labels are the likeliest class."""
        config, logits = self.config, outputs(model, batch)
        loss, hits = judge(logits, batch.labels)
        value = float(loss.detach())
        if self.teacher is not None:
            with torch.no_grad():
                opinion = outputs(self.teacher, batch)
            share = config.teacher_weight
            loss = (1 - share) * loss + share * distillation_loss(logits, opinion, config.temperature)
        if config.hankel_weight:
            loss = loss + config.hankel_weight * hankel_nuclear_norm(model).to(loss)
        return loss, value, hits
