"""How the parameters and optimiser moments of S4D follow a change of the states' coordinates, feature by feature."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssm_gramians import Diagonal, InstabilityError, StateSpace

from .._errors import ReductionError, ShapeError, require
from ._surgery import Surgery, average_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .channels import ChannelLayer
    from .s4d import S4D


def checked_poles(layer: ChannelLayer, system: StateSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Return poles (H, s), B (H, s, 1) and C (H, 1 or 2, s) as complex128 on the layer's device.

    Raises
    ------
    ShapeError, ReductionError, InstabilityError
        If they do not fit the layer, are no numbers, or do not decay.
    """
    H, outputs = layer.d_model, 2 if layer.bidirectional else 1
    paired = isinstance(system.A, Diagonal) and system.A.paired and system.batch_shape == (H,)
    require(paired and system.is_discrete, f"got {system}, wanted a batch of {H} paired discrete systems", ShapeError)
    s = system.order // 2
    poles = _checked(layer, "poles", system.A.eigenvalues, (H, s))
    B, C = _checked(layer, "B", system.B, (H, s, 1)), _checked(layer, "C", system.C, (H, outputs, s))
    worst = poles.flatten()[poles.abs().argmax()].item()
    if abs(worst) >= 1:
        msg = f"got a pole at {worst}, of modulus {abs(worst)}; wanted all inside the unit circle: pull it in first"
        raise InstabilityError(msg, worst)
    return poles, B, C


def surgery_of(layer: S4D, system: StateSpace, left: Any, right: Any) -> Surgery:
    """Return what turns the layer into that of the system; see `S4D.surgery`."""
    poles, B, C = checked_poles(layer, system)
    shape = (layer.d_model, 2 * layer.d_state, poles.shape[1])
    left, right = _checked(layer, "left", left, shape), _checked(layer, "right", right, shape)
    values, p = layer._placed(poles, B, C), layer._double()
    new = SimpleNamespace(**vars(p) | values)
    nearest = _nearest(poles, layer.eigenvalues(p))
    matrix = _transport(left, B[..., 0], layer.input_scale(p), layer.input_scale(new))  # (H, 2s, 2n)

    def pole(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
        return lambda old, power: old[name].gather(1, nearest) * (power == 2)

    def read(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
        def follow(old: Mapping[str, Tensor], power: int) -> Tensor:
            planes = old[name].double().mT.flatten(1)  # (H, 2n): re, then im
            moved = (matrix**power @ planes[..., None]).unflatten(1, (2, -1)).squeeze(-1)
            return moved.mT.to(old[name].dtype).contiguous()

        return follow

    kinds = {name: read(name) if name.startswith("C") else pole(name) for name in values}

    average = average_of(layer, (poles, B, C), left, right)
    return Surgery({name: value.to(layer.D) for name, value in values.items()}, kinds, average=average)


def _transport(left: Tensor, B: Tensor, old: Tensor, new: Tensor) -> Tensor:
    r"""Return what moves the gradient of C in planes, (H, 2s, 2n).

    With $z = \text{left}^H \xi$ the new state of input map 1 is $z / B$, and the loss sees $c_{old} = c_{new} L$. C is
    stored without the input scales b, so its gradient is that of $c = b C$ times $\bar b$.
    """
    one = torch.ones_like(B)
    weight = torch.where(B == 0, 0 * one, one / torch.where(B == 0, one, B))  # what nothing drives keeps no moments
    L = left.mH * weight[..., None]  # (H, s, 2n) complex: z = L ξ
    re, im = L.chunk(2, -1)  # what meets Re x and Im x
    rows = torch.cat([torch.cat([re.real, -im.real], -1), torch.cat([-re.imag, im.imag], -1)], -2)  # C is [Re, −Im]
    return _times(new.conj()) @ rows @ _times(1 / old.conj())


def _times(scale: Tensor) -> Tensor:
    """Return the matrix of a product with `scale` in planes, (H, 2k, 2k)."""
    a, b = torch.diag_embed(scale.real), torch.diag_embed(scale.imag)
    return torch.cat([torch.cat([a, -b], -1), torch.cat([b, a], -1)], -2)


def _nearest(new: Tensor, old: Tensor) -> Tensor:
    """Return for each new pole the index of the closest old one of its feature, conjugates counted too."""
    new, old = new[..., None], old[:, None]
    return torch.minimum((new - old).abs(), (new - old.conj()).abs()).argmin(-1)


def _checked(layer: ChannelLayer, name: str, array: Any, shape: tuple[int, ...]) -> Tensor:
    tensor = torch.as_tensor(array).to(layer.D.device, torch.complex128)
    require(tuple(tensor.shape) == shape, f"got {name} of shape {tuple(tensor.shape)}, wanted {shape}", ShapeError)
    require(bool(tensor.isfinite().all()), f"got a NaN or an infinity in {name}, wanted numbers", ReductionError)
    return tensor
