r"""Mamba-2: a selective recurrence with one decay for a whole head, which makes its state a matrix.

Glossary, with the names of mamba_ssm
-------------------------------------
d_inner     channels inside, expand d_model = h P
h, P        heads, and channels of each: nheads, headdim
g, N        groups of heads that share B and C, and states of each: ngroups, d_state
in_proj     one linear map for [z, x, B, C, dt]                      (2 d_inner + 2 g N + h, d_model)
conv1d      causal filter of [x, B, C], channel by channel           (d_inner + 2 g N, 1, d_conv)
dt_bias     Δ_t = softplus(dt + dt_bias), in [dt_limit]              (h)
A_log       a = −exp(A_log), the decay is exp(Δ_t a)                 (h)
D           feedthrough                                              (h), or (d_inner) if D_has_hdim
norm        RMSNorm over each group's channels, gated by silu(z)     (d_inner)
out_proj    linear map back                                          (d_model, d_inner)
init_states the state before the first step, if it is learned        (h, P, N)
mix_B, C    what makes N rows of B and C of those that the convolution gives, if they are mixed (g, N, d_unmixed)
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from .._errors import DtypeError, ShapeError, require
from ..scan import Choice, Implementation, Moments
from ..scan._operation import installed
from ..scan.depthwise import causal_conv
from ..scan.dual import choose_ssd, ssd
from ..scan.lengths import blank
from ..streaming import TorchStepper
from ._gated_norm import GatedRMSNorm
from ._mamba_state import MambaState
from .padding import Padding, right_padded

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from ..streaming import Stepper


class Mamba2(nn.Module):
    r"""$H_t = e^{\Delta_t a} H_{t-1} + \Delta_t x_t B_t^T,\; y_t = H_t C_t + D x_t$ per head, between filter and gate.

    Maps (batch, length, d_model) to the same shape. The state_dict is that of mamba_ssm and transformers.

    Parameters
    ----------
    d_model
        Features in and out.
    d_state
        Columns of a head's state, N.
    d_conv
        Taps of the convolution.
    expand
        d_inner = expand d_model.
    headdim
        Channels of a head, P; a divisor of d_inner.
    ngroups
        Groups of heads that share B and C, a divisor of their number.
    A_init_range
        Where −a starts, uniformly.
    D_has_hdim
        A feedthrough for every channel, not for every head.
    rmsnorm, norm_before_gate
        Normalise the outputs of the scan, and whether before they are gated; without, they are gated only.
    dt_min, dt_max, dt_init_floor
        Where Δ starts for an input of zero, uniformly in its logarithm; never below the floor.
    dt_limit
        Where Δ is kept.
    bias, conv_bias
        Whether the linear maps and the convolution have a bias.
    chunk_size
        Taken and kept for the sake of configurations; implementations have the chunk that suits their memory.
    learnable_init_states
        Learn the state before the first step, for calls that are given none.
    d_unmixed
        Let B and C leave the convolution with so many rows, and mix them to `d_state`: what a reduction makes of the
        layer. None for no mixing.
    scan
        The implementation that `ssd` takes.
    layer_idx
        Kept, for caches that ask for it.
    device, dtype
        Of the parameters.

    Raises
    ------
    OptionError
        If an option is outside its range, or sizes do not divide.

    References
    ----------
    Dao, Gu, Transformers are SSMs: generalized models and efficient algorithms through structured state space duality,
    ICML 2024, section 7.
    """

    moments: Moments | None = None
    """Where forward passes put the second moments of states and adjoint states; see `gather_moments`."""

    mix_B: nn.Parameter | None  # noqa: N815
    mix_C: nn.Parameter | None  # noqa: N815

    _fused: Any = None  # the kernel of `step`, made when it is first wanted

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        *,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
        ngroups: int = 1,
        A_init_range: tuple[float, float] = (1.0, 16.0),
        D_has_hdim: bool = False,
        rmsnorm: bool = True,
        norm_before_gate: bool = False,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        dt_limit: tuple[float, float] = (0.0, math.inf),
        bias: bool = False,
        conv_bias: bool = True,
        chunk_size: int = 256,
        learnable_init_states: bool = False,
        d_unmixed: int | None = None,
        scan: Implementation = "auto",
        layer_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        rows = d_state if d_unmixed is None else d_unmixed
        sizes = {"d_model": d_model, "d_state": d_state, "d_conv": d_conv, "expand": expand, "headdim": headdim}
        for name, size in (sizes | {"ngroups": ngroups, "chunk_size": chunk_size, "d_unmixed": rows}).items():
            require(size >= 1, f"got {name}={size}, wanted at least 1")
        d_inner = int(expand * d_model)
        nheads = d_inner // headdim
        fits = d_inner % headdim == 0 and nheads % ngroups == 0
        msg = f"got {d_inner} channels for {headdim=} and {ngroups=}, wanted whole heads, as many in every group"
        require(fits, msg)
        low, high = A_init_range
        require(0 < low <= high, f"got A_init_range={A_init_range}, wanted 0 < low <= high")
        require(0 < dt_min <= dt_max, f"got {dt_min=} and {dt_max=}, wanted 0 < dt_min <= dt_max")
        self.d_model, self.d_conv, self.expand, self.headdim, self.ngroups = d_model, d_conv, expand, headdim, ngroups
        self.d_inner, self.nheads, self.dt_limit, self.D_has_hdim = d_inner, nheads, dt_limit, D_has_hdim
        self.chunk_size, self.scan, self.layer_idx = chunk_size, scan, layer_idx
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        channels = d_inner + 2 * ngroups * rows
        self.in_proj = nn.Linear(d_model, d_inner + channels + nheads, bias=bias, **where)
        self.conv1d = nn.Conv1d(
            channels, channels, d_conv, groups=channels, padding=d_conv - 1, bias=conv_bias, **where
        )
        dt = torch.exp(torch.empty(nheads, device=device).uniform_(math.log(dt_min), math.log(dt_max)))
        dt = dt.clamp_min(dt_init_floor)
        self.dt_bias = _kept(dt + (-torch.expm1(-dt)).log(), dtype)  # the inverse of softplus
        self.A_log = _kept(torch.empty(nheads, device=device).uniform_(low, high).log(), dtype)
        self.D = _kept(torch.ones(d_inner if D_has_hdim else nheads, device=device), dtype)
        if learnable_init_states:
            self.init_states = _kept(torch.zeros(nheads, headdim, d_state, device=device), dtype)
        for name in ("mix_B", "mix_C"):
            mix = None if d_unmixed is None else torch.eye(d_state, rows, **where).repeat(ngroups, 1, 1)
            self.register_parameter(name, None if mix is None else nn.Parameter(mix))
        if rmsnorm:
            self.norm = GatedRMSNorm(d_inner, ngroups, norm_before_gate=norm_before_gate, **where)
        self.out_proj = nn.Linear(d_inner, d_model, bias=bias, **where)

    @property
    def d_state(self) -> int:
        """Return N."""
        return self._rows if self.mix_B is None else self.mix_B.shape[1]

    @property
    def d_unmixed(self) -> int | None:
        """Return the rows of B and C before they are mixed, None if they are not."""
        return None if self.mix_B is None else self._rows

    @property
    def _rows(self) -> int:
        return (self.conv1d.out_channels - self.d_inner) // (2 * self.ngroups)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        state: MambaState | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        padding: Padding = "right",
        return_state: bool = False,
    ) -> Float[Tensor, "batch length d_model"] | tuple[Float[Tensor, "batch length d_model"], MambaState]:
        """Return the outputs, and the last state too if `return_state`.

        Parameters
        ----------
        x
            The inputs.
        state
            The state before the first step: what the last call returned, or `init_state`, which is what it is if not
            given.
        lengths
            How many steps of each sequence are real; all if it is not given. The others count for nothing, whatever is
            in them; outputs there are zero, and the last state is the one after the last real step.
        padding
            Where the others are, `right` of the real ones or `left`.
        return_state
            Return the state after the last step too.

        Raises
        ------
        ShapeError, DtypeError, OptionError
            If the inputs, the state or the lengths do not fit the layer.
        """
        x, back = right_padded(self._inputs(x, 3), lengths, padding)
        state = self._state(state, x.shape[0])
        z, xBC, dt, conv = self._filtered(x, state.conv, lengths)
        y, ssm = self._scan(xBC, dt, state.ssm, lengths)
        gate = "reference" if self.scan in ("reference", "torch") else "auto"
        y = self.norm(y, z, gate) if hasattr(self, "norm") else y * silu(z.to(y.dtype))
        y = self.out_proj(y.to(self.out_proj.weight.dtype))
        if lengths is not None and self.out_proj.bias is not None:
            y = blank(y, lengths)
        return (back(y), MambaState(conv.mT, ssm)) if return_state else back(y)

    def output_maps(
        self, x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch length g N"]:
        """Return C of every step and group, for sequences from their beginning whose real steps come first."""
        x = self._inputs(x, 3)
        _, xBC, _, _ = self._filtered(x, self.init_state(x.shape[0]).conv, lengths)
        return self._mixed(xBC[..., -self.ngroups * self._rows :], self.mix_C)

    def _filtered(self, x: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gate, what the scan takes, its steps, and the last window of the convolution."""
        z, xBC, dt = self.in_proj(x).split([self.d_inner, self.conv1d.out_channels, self.nheads], -1)
        filters, bias = self._single(self.conv1d.weight).squeeze(1), self.conv1d.bias
        xBC, conv = causal_conv(
            xBC,
            filters,
            None if bias is None else self._single(bias),
            state.mT,
            lengths=lengths,
            implementation=self.scan if self.scan in ("reference", "torch") else "auto",
        )
        return z, xBC, dt, conv

    def _scan(self, xBC: Tensor, dt: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        shared = self.ngroups * self._rows
        x, B, C = xBC.split([self.d_inner, shared, shared], -1)
        D = self._single(self.D)
        y, last = ssd(
            x.unflatten(-1, (-1, self.headdim)),
            dt,
            -self._single(self.A_log).exp(),
            self._mixed(B, self.mix_B),
            self._mixed(C, self.mix_C),
            D.unflatten(0, (-1, self.headdim)) if self.D_has_hdim else D,
            state,
            dt_bias=self._single(self.dt_bias),
            dt_softplus=True,
            dt_limit=self.dt_limit,
            lengths=lengths,
            moments=self.moments,
            implementation=self.scan,
        )
        return y.flatten(2), last

    def _mixed(self, rows: Tensor, mix: Tensor | None) -> Tensor:
        """Return B or C by groups, mixed if they are to be."""
        rows = rows.unflatten(-1, (self.ngroups, -1))
        return rows if mix is None else torch.einsum("...gn,grn->...gr", rows, self._single(mix))

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: MambaState
    ) -> tuple[Float[Tensor, "batch d_model"], MambaState]:
        """Return the output of one step and the state after it.

        Without gradients, in single precision on the CPU and with Numba, this is one kernel for the whole layer. See
        `ssm_zoo.streaming.stepper` for what is faster still.
        """
        if not torch.is_grad_enabled() and type(x_t) is Tensor and not torch.compiler.is_compiling():
            fused = self._fused_step()
            if fused is not None and fused.fits(x_t, state):
                return fused(x_t, state)
        y, state = self(self._inputs(x_t, 2).unsqueeze(1), state, return_state=True)
        return y.squeeze(1), state

    def make_stepper(self, batch: int = 1) -> Stepper:
        """Return a frozen copy of the layer that runs step by step; see `ssm_zoo.streaming.stepper`."""
        layer = copy.deepcopy(self).eval().requires_grad_(False)
        fused = layer._fused_step()
        if fused is None:
            return TorchStepper(layer, batch)
        return fused.stepper(layer.init_state(batch))

    def init_state(self, batch: int) -> MambaState:
        """Return the state before the first step: at rest, or what was learned."""
        dtype = torch.promote_types(self.A_log.dtype, torch.float32)
        conv = self.A_log.new_zeros(batch, self.conv1d.out_channels, self.d_conv - 1, dtype=dtype)
        shape = (self.nheads, self.headdim, self.d_state)
        if hasattr(self, "init_states"):
            return MambaState(conv, self.init_states.to(dtype).expand(batch, *shape).contiguous())
        return MambaState(conv, conv.new_zeros(batch, *shape))

    def new_moments(self) -> Moments:
        """Return moments to gather into, of the rows of the states of every group."""
        return Moments((self.ngroups, self.d_state, self.d_state), self.A_log.device)

    def explain(self, batch: int, length: int) -> str:
        """Return which implementation of the scan such inputs take, and why."""
        choice = Choice(self.scan, "asked for by `scan`")
        if self.scan == "auto":
            choice = choose_ssd(self.A_log.detach()[:, None].expand(batch, length, -1, self.headdim))
        return f"{type(self).__name__}({self.extra_repr()}), {batch} x {length} steps on {self.D.device}: {choice}"

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        sizes = f"d_model={self.d_model}, d_state={self.d_state}, headdim={self.headdim}"
        sizes = sizes if self.mix_B is None else f"{sizes}, d_unmixed={self.d_unmixed}"
        return sizes if self.ngroups == 1 else f"{sizes}, ngroups={self.ngroups}"

    def _fused_step(self) -> Any:
        """Return the kernel of the parameters as they are, or None if there is none for them."""
        if self.scan not in ("auto", "numba") or not installed("numba"):
            return None
        from ._mamba2_step import FusedStep, addresses

        if self._fused is None or self._fused.addresses != addresses(self):
            self._fused = FusedStep(self) if FusedStep.suits(self) else None
        return self._fused

    def _inputs(self, x: Tensor, axes: int) -> Tensor:
        """Return the inputs in the precision of the parameters; raise if they do not fit."""
        shape = ("batch", "length")[: axes - 1]
        wanted = f"({', '.join(shape)}, {self.d_model})"
        got = f"got x of shape {tuple(x.shape)}, wanted {wanted}"
        require(x.ndim == axes and x.shape[-1] == self.d_model, got, ShapeError)
        dtype = self.in_proj.weight.dtype
        fits = x.dtype in (dtype, torch.float16, torch.bfloat16)
        require(fits, f"got x of {x.dtype}, wanted {dtype} as the parameters are, or half precision", DtypeError)
        return x.to(dtype)

    def _state(self, state: MambaState | None, batch: int) -> MambaState:
        """Return the state to start from; raise if it does not fit."""
        wanted = self.init_state(batch)
        if state is None:
            return wanted
        for name, got, like in zip(MambaState._fields, state, wanted, strict=True):
            msg = f"state.{name} must be {tuple(like.shape)} for {batch} sequences, got {tuple(got.shape)}"
            require(got.shape == like.shape, msg, ShapeError)
        return MambaState(*(got.to(like.dtype) for got, like in zip(state, wanted, strict=True)))

    def _single(self, parameter: Tensor) -> Tensor:
        """Return a parameter in single precision at least."""
        return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _kept(value: Tensor, dtype: torch.dtype | None) -> nn.Parameter:
    """Return a parameter that no weight decay should touch."""
    parameter = nn.Parameter(value.to(dtype))
    parameter._no_weight_decay = True  # type: ignore[attr-defined]
    return parameter
