r"""S5 layers of the authors (Flax) and of s5-pytorch.

Glossary
--------
ours        Lambda_re, Lambda_im, log_step (n); B (n, H, 2); C, C2 (H, n, 2); D (H);   y = 2 Re(C x) + D u
flax        the same, but log_step (n, 1) and, where there is one, C2 in a matrix of its own or behind C (H, 2n, 2);
            y = 2 Re(C x) + D u with conj_sym, where the poles are all on one side of the real axis, else Re(C x) + D u
s5-pytorch  Lambda (n) complex; B (n, H, 2); C (H, n) complex, or (H, 2n) if bidirectional; y = Re(C x) + D u
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from .._errors import UnsupportedError
from ..layers import S5

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .files import Tensors


def _read_flax(tensors: Tensors, config: dict[str, Any]) -> S5:
    Lambda = torch.complex(tensors["Lambda_re"].float(), tensors["Lambda_im"].float())
    signs = Lambda.imag.sign()
    conj_sym = config.get("conj_sym", not bool((signs == 1).any() and (signs == -1).any()))
    C = torch.cat([tensors["C1"], tensors["C2"]], 1) if "C1" in tensors else tensors["C"]
    return _layer(Lambda, tensors, torch.view_as_complex(C.float().contiguous()), 1.0 if conj_sym else 0.5, config)


def _read_torch(tensors: Tensors, config: dict[str, Any]) -> S5:
    return _layer(tensors["Lambda"], tensors, tensors["C"], 0.5, config)


def _layer(Lambda: Tensor, tensors: Tensors, C: Tensor, share: float, config: dict[str, Any]) -> S5:
    d_state, d_model, _ = tensors["B"].shape
    parts = C.split(d_state, dim=1)
    layer = S5(d_model, d_state, bidirectional=len(parts) == 2, discretization=config.get("discretization", "zoh"))
    values = {"Lambda_re": Lambda.real, "Lambda_im": Lambda.imag, "log_step": tensors["log_step"].flatten()}
    values |= {"B": tensors["B"], "D": tensors["D"]}
    values |= {name: torch.view_as_real(share * part) for name, part in zip(("C", "C2"), parts, strict=False)}
    layer.load_state_dict(values)
    return layer


def _write_flax(layer: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    s5 = _checked(layer, "s5_flax")
    tensors = dict(s5.state_dict())
    tensors["log_step"] = tensors["log_step"][:, None]
    if s5.bidirectional:
        tensors["C1"] = tensors.pop("C")
    return tensors, {"conj_sym": True, "discretization": s5.discretization}


def _write_torch(layer: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    s5 = _checked(layer, "s5_torch")
    ours = s5.state_dict()
    C = torch.cat([ours[name] for name in ("C", "C2") if name in ours], 1)
    tensors = {"Lambda": torch.complex(ours["Lambda_re"], ours["Lambda_im"]), "C": 2 * torch.view_as_complex(C)}
    return tensors | {name: ours[name] for name in ("B", "D", "log_step")}, {"discretization": s5.discretization}


def _checked(layer: nn.Module, format: str) -> S5:  # noqa: A002
    if not isinstance(layer, S5):
        message = f"the format {format!r} holds S5 layers, got a {type(layer).__name__}"
        raise UnsupportedError(message)
    return layer


FLAX = SimpleNamespace(
    FILE="model.safetensors",
    recognises=lambda tensors, config: {"Lambda_re", "Lambda_im", "B", "log_step"} <= set(tensors),
    read=_read_flax,
    write=_write_flax,
)
"""The authors' format."""

TORCH = SimpleNamespace(
    FILE="model.safetensors",
    recognises=lambda tensors, config: {"Lambda", "B", "C", "log_step"} <= set(tensors),
    read=_read_torch,
    write=_write_torch,
)
"""That of s5-pytorch."""
