r"""Mamba-2: balanced in full, by a small mixing behind the convolution, or by a selection that keeps the format.

A head's decay is one number, so any coordinates of the state will do: with $h' = L h$ and $h \approx R h'$, the smaller
layer writes $B'_t = L B_t$ and reads with $C'_t = R^T C_t$. But $B_t$ and $C_t$ come out of a filter and SiLU, in front
of which nothing can be folded: the layer gets the matrices $L$ and $R^T$ as parameters, `mix_B` and `mix_C`. Where that
will not do, since a checkpoint must keep its format, states are selected, the rows of the others are dropped, and those
that make $C_t$ are refitted to take their part in as far as they can, if that brings the outputs closer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np
import torch
from torch import nn

from ..._errors import require
from ...layers import Mamba2, Surgery
from ..grouped import GroupedPlan, Picked, Rotated
from ..rows import Rows, refitted
from ..selected import Selected
from .base import output_error
from .selective import SelectiveAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from ..evidence import Evidence
    from ..proposal import Plan

    Follow: TypeAlias = Callable[[Mapping[str, Tensor], int], Tensor]

Form: TypeAlias = Literal["mix", "keep"]
"""What a cut makes of Mamba-2: `mix` any coordinates of the state, `keep` a selection, and the format of the layer."""


class Mamba2Adapter(SelectiveAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        A `Mamba2`.
    form
        See `Form`. A layer that has been mixed stays so; there, a selection folds the others into `mix_C`.
    refit
        Steps of the refit where the format is kept; 0 for none.

    Raises
    ------
    OptionError
        If there is no such form, or the steps are negative.
    """

    layer: Mamba2

    def __init__(self, layer: nn.Module, form: Form = "mix", refit: int = 50) -> None:
        require(form in get_args(Form), f"got form={form!r}, wanted one of: {', '.join(get_args(Form))}")
        require(refit >= 0, f"got refit={refit}, wanted a number of steps, 0 or more")
        super().__init__(layer)
        self.form, self.refit = form, refit

    @property
    def d_state(self) -> int:
        """Return N."""
        return self.layer.d_state

    def gains(self) -> np.ndarray:
        """Return how large the parameters of each state are, (groups, N): the product of those that make B and C."""
        layer = self.layer
        if layer.mix_B is not None and layer.mix_C is not None:
            gains = layer.mix_B.norm(dim=2) * layer.mix_C.norm(dim=2)
        else:
            rows, d = layer.in_proj.weight.norm(dim=1), layer.d_inner
            rows = rows[d : d + layer.conv1d.out_channels] * layer.conv1d.weight.norm(dim=(1, 2))
            gains = rows[d:].view(2, layer.ngroups, -1).prod(0)
        return gains.detach().double().cpu().numpy()

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Balance every group for itself, or pick from it by both moments."""
        del has_bound
        if self.form == "mix":
            return Rotated.of(Z_P, Z_Q)
        pairs = zip(Z_P, Z_Q, strict=True)
        return Picked(tuple(Selected.by_moments(one @ one.T, other @ other.T) for one, other in pairs))

    def ranked(self, scores: np.ndarray) -> Plan:
        """Pick the highest scores of every group; nothing is folded."""
        return Picked(tuple(Selected.by_scores(row) for row in scores))

    def surgery(self, plan: Plan, slots: int, evidence: Evidence) -> tuple[int, Surgery]:
        """Mix, or select where that is the form or nothing is mixed but picked."""
        if self.layer.mix_B is None and isinstance(plan, Picked):
            surgery = self._selecting(torch.from_numpy(plan.kept(slots)))
            if self.refit and all(group.P is not None for group in plan.groups):
                both = surgery, self._refitted(surgery, plan, slots, evidence)
                surgery = min(both, key=lambda one: output_error(self, one, evidence))
            return slots, surgery
        where = self.layer.A_log.device
        L, R = (torch.from_numpy(side).to(where) for side in cast(GroupedPlan, plan).maps(slots))
        return L.shape[1], self._mixing(L, R)

    @torch.no_grad()
    def _refitted(self, surgery: Surgery, plan: Picked, slots: int, evidence: Evidence) -> Surgery:
        """Return the surgery with rows of C that take the dropped states in."""
        C, x, real = self.output_maps(evidence)
        M = torch.from_numpy(plan.maps(slots)[1]).to(C)
        P = torch.from_numpy(np.stack([group.moment(slots) for group in plan.groups])).to(C.device)
        count, heads = len(P) * slots, self.layer.nheads
        places = {"in_proj": slice(-heads - count, -heads), "conv1d": slice(-count, None)}
        values = {name: (value, places.get(name.partition(".")[0])) for name, value in surgery.parameters.items()}
        old = {name: value[at].to(C.dtype) for name, (value, at) in values.items() if value is not None and at}
        wanted = torch.einsum("blgn,gnr->blgr", C, M).flatten(2)
        new = refitted(Rows.of(old), x.to(C.dtype), wanted, real, P, self.refit).named()
        parameters = dict(surgery.parameters)
        for name, rows in new.items():
            value, at = values[name]
            all_rows = cast("Tensor", value).clone()
            all_rows[at] = rows
            parameters[name] = all_rows
        return replace(surgery, parameters=parameters)

    def _mixing(self, L: Tensor, R: Tensor) -> Surgery:
        """Return what gives the layer new coordinates; L is (groups, r, N) and R (groups, N, r)."""
        layer, weight = self.layer, self.layer.conv1d.weight

        def mix(old: Mapping[str, Tensor]) -> dict[str, Tensor]:
            sides = {"mix_B": L, "mix_C": R.mT}
            new = {name: side @ old[name].detach().double() if name in old else side for name, side in sides.items()}
            new = {name: value.to(weight.dtype).contiguous() for name, value in new.items()}
            start = old.get("init_states")
            return new if start is None else new | {"init_states": _by_group(start.detach(), L.mT)}

        moments: dict[str, Follow] = {
            "mix_B": lambda old, power: (R.mT**power).to(old["mix_B"].dtype) @ old["mix_B"],
            "mix_C": lambda old, power: (L**power).to(old["mix_C"].dtype) @ old["mix_C"],
        }
        if hasattr(layer, "init_states"):
            moments["init_states"] = lambda old, power: _by_group(old["init_states"], R**power)
        return Surgery(mix(dict(layer.named_parameters())), moments, average=mix)

    def _selecting(self, kept: Tensor) -> Surgery:
        """Return what drops the rows of all other states; `kept` is (groups, r)."""
        layer, d, where = self.layer, self.layer.d_inner, self.layer.A_log.device
        kept = kept.to(where)
        shared = layer.ngroups * layer.d_state
        states = (kept + layer.d_state * torch.arange(layer.ngroups, device=where)[:, None]).flatten()
        channels = torch.cat([torch.arange(d, device=where), d + states, d + shared + states])
        heads = d + layer.conv1d.out_channels + torch.arange(layer.nheads, device=where)
        rows = torch.cat([torch.arange(d, device=where), d + channels, heads])
        picks: dict[str, Callable[[Tensor], Tensor]] = {
            f"{module}.{name}": partial(_rows, at)
            for module, at in (("in_proj", rows), ("conv1d", channels))
            for name, _ in layer.get_submodule(module).named_parameters()
        }
        if hasattr(layer, "init_states"):
            chosen = torch.nn.functional.one_hot(kept, layer.d_state).double().mT
            picks["init_states"] = lambda old: _by_group(old, chosen)
        sizes = {f"conv1d.{name}": len(channels) for name in ("in_channels", "out_channels", "groups")}
        return Surgery(
            {name: pick(layer.get_parameter(name).detach()) for name, pick in picks.items()},
            {name: partial(_followed, name, pick) for name, pick in picks.items()},
            {**sizes, "in_proj.out_features": len(rows)},
            lambda old: {name: pick(old[name]) for name, pick in picks.items()},
        )


def _rows(at: Tensor, old: Tensor) -> Tensor:
    return old[at]


def _followed(name: str, pick: Callable[[Tensor], Tensor], old: Mapping[str, Tensor], power: int) -> Tensor:
    """Return the moment of what was picked: what acts on a kept state goes on acting on it."""
    del power
    return pick(old[name])


def _by_group(states: Tensor, maps: Tensor) -> Tensor:
    """Return (heads, P, N) times the matrix of each head's group, (groups, N, r)."""
    groups = states.unflatten(0, (len(maps), -1)).double()
    return (groups @ maps[:, None]).flatten(0, 1).to(states.dtype)
