r"""$\sum \sigma$, the Hankel nuclear norm: a regulariser that makes layers easy to reduce, at a cost per step.

Each step solves for both Gramians and decomposes them, forward and once more backward, which is what makes the method
slow beside a few cuts.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

import ssm_balance as sb
from ssm_gramians import Diagonal, StateSpace

from .._errors import UnsupportedError, require
from ..layers._system import DiagonalSystem

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn


def hankel_nuclear_norm(model: nn.Module) -> Float[Tensor, ""]:
    r"""Return $\sum_i \sigma_i$ of all `LRU` and `S5` layers in a model, in double precision, with gradients.

    Parameters
    ----------
    model
        A layer, or a model that holds some.

    Raises
    ------
    UnsupportedError
        If there is no such layer.
    InstabilityError
        If a pole of one is not inside the unit circle.

    References
    ----------
    M. Forgione, M. Mejari, D. Piga, Model order reduction of deep structured state-space models, CDC 2024, arXiv
    2403.14833. P. Schwerdtner, J. Berman, B. Peherstorfer, arXiv 2510.22951.
    """
    layers = [module for module in model.modules() if isinstance(module, DiagonalSystem)]
    wanted = f"{type(model).__name__} has no layer with a Hankel norm that can be differentiated; wanted LRU or S5"
    require(bool(layers), wanted, UnsupportedError)
    return torch.stack([sb.hankel_singular_values(_system(layer)).sum() for layer in layers]).sum()


def _system(layer: DiagonalSystem) -> StateSpace:
    """Return what `layer.system()` returns, attached to the parameters."""
    parameters = SimpleNamespace(**{name: value.double() for name, value in layer.named_parameters()})
    eigenvalues, B, C = layer._modes(parameters)
    D = B.new_zeros(C.shape[0], B.shape[1], dtype=torch.float64)
    return StateSpace(Diagonal(eigenvalues, paired=True), B, C / 2, D, dt=1.0)
