r"""S4D layers of s4d.py, and S4D and S4 layers of the S4 repository (version 4).

Glossary
--------
n           slots of a feature, half the N of both
ours        log_dt (H), log_A_real, A_imag (H, n), C (H, n, 2), D (H); S4 also B (H, n, 2) and P (H, n, r, 2);
            A = −exp(log_A_real) + i A_imag
s4d.py      the same behind ``kernel.``, B = 1; its ``output_linear.0`` is the `gate` of a `Block`, not of the layer
version 4   ``kernel.``: inv_dt (H, 1), A_real, A_imag (S, n), B (1, S, n, 2), C (1, H, n, 2), P (r, S, n, 2); D (1, H);
            A = −exp(A_real) − i A_imag, S of them in turn for the H features; S4 has ``kernel.l_kernel``, L, and once
            it has seen a sequence, stores $\tilde C = C (I - \bar A^L)$
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from .._errors import UnsupportedError, require
from ..layers import S4, S4D

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .files import Tensors

    Layer = S4 | S4D

_OURS = ("log_dt", "log_A_real", "A_imag", "C")


def _read_s4d(tensors: Tensors, config: dict[str, Any]) -> S4D:
    values = {name: tensors[f"kernel.{name}"] for name in _OURS}
    return _loaded(S4D(*values["A_imag"].shape), values | {"D": tensors["D"]})


def _write_s4d(layer: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    s4d = _checked(layer, "s4d")
    plain = isinstance(s4d, S4D) and s4d.discretization == "zoh"
    require(plain, f"the format 's4d' holds S4D layers with zero-order hold, got {s4d}", UnsupportedError)
    values = s4d.state_dict()
    return {f"kernel.{name}": values[name] for name in _OURS} | {"D": values["D"]}, {}


def _read_s4(tensors: Tensors, config: dict[str, Any]) -> Layer:
    kernel = {name.removeprefix("kernel."): t.float() for name, t in tensors.items() if name.startswith("kernel.")}
    H, n = kernel["C"].shape[1:3]
    one = kernel["C"].shape[0] == 1 and kernel["inv_dt"].shape[1] == 1
    require(one, "got several channels, a second direction, or a time step for each state", UnsupportedError)
    A = [kernel[name].repeat(H // len(kernel["A_real"]), 1) for name in ("A_real", "A_imag")]
    B = torch.view_as_complex(kernel["B"][0].contiguous()).repeat(H // kernel["B"].shape[1], 1)  # (H, n)
    C = torch.view_as_complex(kernel["C"][0].contiguous())
    values = {"log_dt": kernel["inv_dt"][:, 0], "log_A_real": A[0], "A_imag": -A[1], "D": tensors["D"][0]}
    if "P" not in kernel:
        diagonal = S4D(H, n, discretization=config.get("disc", "zoh"))
        return _loaded(diagonal, values | {"C": torch.view_as_real(B * C)})
    P = kernel["P"].repeat(1, H // kernel["P"].shape[1], 1, 1).permute(1, 2, 0, 3)  # (H, n, r, 2)
    system = _transition(torch.complex(-A[0].exp(), -A[1]), P, values["log_dt"].exp())
    C = _untruncated(C, system, int(kernel.get("l_kernel", torch.tensor(0))))
    layer = S4(H, n, init="legt" if P.shape[2] == 2 else "legs")
    return _loaded(layer, values | {"P": P, "B": torch.view_as_real(B), "C": torch.view_as_real(C)})


def _write_s4(layer: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    s4 = _checked(layer, "s4")
    p = s4.state_dict()
    B = p.get("B", torch.stack([torch.ones_like(p["A_imag"]), torch.zeros_like(p["A_imag"])], -1))
    tensors = {"inv_dt": p["log_dt"][:, None], "A_real": p["log_A_real"], "A_imag": -p["A_imag"], "B": B[None]}
    tensors["C"] = p["C"][None]
    if isinstance(s4, S4):
        tensors |= {"P": p["P"].permute(2, 0, 1, 3), "l_kernel": torch.tensor(0)}
    disc = s4.discretization if isinstance(s4, S4D) else "bilinear"
    return {f"kernel.{name}": t for name, t in tensors.items()} | {"D": p["D"][None]}, {"disc": disc}


def _transition(A: Tensor, P: Tensor, dt: Tensor) -> Tensor:
    r"""Return $\bar A$, dense and with the conjugates completed, (H, 2n, 2n), in double precision."""
    columns = torch.view_as_complex(P.double().contiguous())
    columns = torch.cat([columns, columns.conj()], 1)  # (H, 2n, r)
    dense = torch.diag_embed(torch.cat([A, A.conj()], 1).to(columns)) - columns @ columns.mH
    half, one = dense * dt.double()[:, None, None] / 2, torch.eye(dense.shape[-1], dtype=dense.dtype)
    return torch.linalg.solve(one - half, one + half)


def _untruncated(C: Tensor, transition: Tensor, length: int) -> Tensor:
    r"""Return C of $\tilde C = C (I - \bar A^L)$."""
    if length == 0:
        return C
    both = torch.cat([C, C.conj()], 1).to(transition)[:, None]  # (H, 1, 2n)
    one = torch.eye(transition.shape[-1], dtype=transition.dtype)
    whole = torch.linalg.solve(one - torch.linalg.matrix_power(transition, length), both, left=False)
    return whole[:, 0, : C.shape[1]].to(C.dtype)


def _loaded(layer: Any, values: Tensors) -> Any:
    layer.load_state_dict(values)
    return layer


def _checked(layer: nn.Module, format: str) -> Layer:  # noqa: A002
    if not isinstance(layer, S4D | S4) or layer.bidirectional:
        message = f"the format {format!r} holds S4D and S4 layers of one direction, got {layer}"
        raise UnsupportedError(message)
    return layer


S4D_PY = SimpleNamespace(
    FILE="model.safetensors",
    recognises=lambda tensors, config: {"D", *(f"kernel.{name}" for name in _OURS)} <= set(tensors),
    read=_read_s4d,
    write=_write_s4d,
)
"""The format of s4d.py."""

S4_V4 = SimpleNamespace(
    FILE="model.safetensors",
    recognises=lambda tensors, config: {"D", "kernel.inv_dt", "kernel.A_real", "kernel.C"} <= set(tensors),
    read=_read_s4,
    write=_write_s4,
)
"""The format of the S4 repository."""
