r"""Mamba: a recurrence whose step sizes, inputs and outputs are chosen by the sequence itself.

Glossary, with the names of mamba_ssm
-------------------------------------
d_inner     channels inside, expand d_model, each with a state of N numbers
N, R        states of a channel, and the rank of the map to step sizes: d_state, dt_rank
in_proj     one linear map for [u, z]                                (2 d_inner, d_model)
conv1d      causal filter of u, channel by channel                   (d_inner, 1, d_conv)
x_proj      one linear map of the filtered u for [dt, B, C]          (R + 2 N, d_inner)
dt_proj     Δ_t = softplus(dt_proj dt)                               (d_inner, R)
A_log       A = −exp(A_log), the decay is exp(Δ_t A)                 (d_inner, N)
D           feedthrough                                              (d_inner)
out_proj    linear map back                                          (d_model, d_inner)
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._errors import DtypeError, ShapeError, require
from ..scan import Choice, Implementation, Moments, causal_conv, choose_selective_scan, scan_threads, selective_scan
from ..scan._operation import installed
from ..scan.lengths import blank
from ..streaming import TorchStepper
from ._mamba_state import MambaState
from .padding import Padding, right_padded

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from ..streaming import Stepper


class Mamba(nn.Module):
    r"""$h_t = e^{\Delta_t A} h_{t-1} + \Delta_t u_t B_t^T,\; y_t = (h_t C_t + D u_t)\,\mathrm{silu}(z_t)$ per channel.

    Maps (batch, length, d_model) to the same shape. The state_dict is that of mamba_ssm and transformers.

    Parameters
    ----------
    d_model
        Features in and out.
    d_state
        States of a channel, N.
    d_conv
        Taps of the convolution.
    expand
        d_inner = expand d_model.
    dt_rank
        Rank of the map to step sizes, R; `auto` is d_model / 16, rounded up.
    dt_min, dt_max, dt_init_floor
        Where Δ starts for an input of zero, uniformly in its logarithm; never below the floor.
    dt_init, dt_scale
        How the weight of `dt_proj` starts, `random` or `constant`, and its size in units of $R^{-1/2}$.
    conv_bias, bias
        Whether the convolution and the linear maps in and out have a bias.
    scan
        The implementation that `selective_scan` takes.
    layer_idx
        Kept, for caches that ask for it.
    device, dtype
        Of the parameters.

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Gu, Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023, section 3.
    """

    moments: Moments | None = None
    """Where forward passes put the second moments of states and adjoint states; see `gather_moments`."""

    _fused: Any = None  # the kernel of `step`, made when it is first wanted

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        *,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | Literal["auto"] = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init: Literal["random", "constant"] = "random",
        dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        scan: Implementation = "auto",
        layer_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        sizes = {"d_model": d_model, "d_state": d_state, "d_conv": d_conv, "expand": expand, "dt_rank": rank}
        for name, size in sizes.items():
            require(size >= 1, f"got {name}={size}, wanted at least 1")
        require(0 < dt_min <= dt_max, f"got {dt_min=} and {dt_max=}, wanted 0 < dt_min <= dt_max")
        require(dt_init in ("random", "constant"), f"got {dt_init=}, wanted 'random' or 'constant'")
        self.d_model, self.d_conv, self.expand, self.dt_rank = d_model, d_conv, expand, rank
        self.d_inner = d_inner = int(expand * d_model)
        self.scan, self.layer_idx = scan, layer_idx
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=bias, **where)
        self.conv1d = nn.Conv1d(d_inner, d_inner, d_conv, groups=d_inner, padding=d_conv - 1, bias=conv_bias, **where)
        self.x_proj = nn.Linear(d_inner, rank + 2 * d_state, bias=False, **where)
        self.dt_proj = nn.Linear(rank, d_inner, bias=True, **where)
        self._start_dt(dt_init, dt_scale / math.sqrt(rank), dt_min, dt_max, dt_init_floor)
        rates = torch.arange(1, d_state + 1, dtype=torch.float32, device=device)
        self.A_log = _kept(rates.log().repeat(d_inner, 1), dtype)
        self.D = _kept(torch.ones(d_inner, device=device), dtype)
        self.out_proj = nn.Linear(d_inner, d_model, bias=bias, **where)

    @torch.no_grad()
    def _start_dt(self, init: str, scale: float, low: float, high: float, floor: float) -> None:
        if init == "constant":
            nn.init.constant_(self.dt_proj.weight, scale)
        else:
            nn.init.uniform_(self.dt_proj.weight, -scale, scale)
        dt = torch.rand(self.d_inner, device=self.dt_proj.weight.device)
        dt = (math.log(low) + dt * math.log(high / low)).exp().clamp_min(floor)
        self.dt_proj.bias.copy_(dt + (-torch.expm1(-dt)).log())  # the inverse of softplus
        self.dt_proj.bias._no_reinit = True  # type: ignore[attr-defined]
        self.dt_proj.bias._no_weight_decay = True  # type: ignore[attr-defined]

    @property
    def d_state(self) -> int:
        """Return N."""
        return self.A_log.shape[1]

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
            The state before the first step: what the last call returned, or `init_state`. Zero if it is not given.
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
        if self._runs_in_tiles(x):
            from ._mamba_fused import run

            y, last = run(self, x, state, lengths)
            return (back(y), last) if return_state else back(y)
        u, z = self.in_proj(x).chunk(2, -1)
        u, conv = self._filter(u, state.conv, lengths)
        y, ssm = self._scan(u, z, state.ssm, lengths)
        y = self.out_proj(y.to(self.out_proj.weight.dtype))
        if lengths is not None and self.out_proj.bias is not None:
            y = blank(y, lengths)
        return (back(y), MambaState(conv, ssm)) if return_state else back(y)

    def _runs_in_tiles(self, x: Tensor) -> bool:
        """Say whether one operation does it all: on the CPU, unless something between is wanted in another way."""
        plain = x.dtype is self.A_log.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
        fused = self.scan in ("auto", "numba") and installed("numba") and x.device.type == "cpu"
        # A compiler cannot ask for the number of threads, which need not be the same when its code runs.
        busy = torch.compiler.is_compiling() or x.shape[0] >= scan_threads()
        return plain and fused and self.moments is None and busy and x.shape[1] > 1

    def output_maps(
        self, x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch length n"]:
        """Return C of every step, for sequences from their beginning whose real steps come first."""
        u, _ = self.in_proj(self._inputs(x, 3)).chunk(2, -1)
        u, _ = self._filter(u, self.init_state(x.shape[0]).conv, lengths)
        return linear(u.to(self.x_proj.weight.dtype), self.x_proj.weight[-self.d_state :])

    def _filter(self, u: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        weight, bias = _single(self.conv1d.weight).squeeze(1), self.conv1d.bias
        u, window = causal_conv(
            u,
            weight,
            None if bias is None else _single(bias),
            state.mT,
            lengths=lengths,
            implementation=self.scan if self.scan in ("reference", "torch") else "auto",
        )
        return u, window.mT

    def _scan(self, u: Tensor, z: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        N = self.d_state
        dt, B, C = self.x_proj(u.to(self.x_proj.weight.dtype)).split([self.dt_rank, N, N], -1)
        return selective_scan(
            u,
            linear(dt, self.dt_proj.weight),
            -_single(self.A_log).exp(),
            B,
            C,
            state,
            D=_single(self.D),
            z=z,
            dt_bias=_single(self.dt_proj.bias),
            dt_softplus=True,
            lengths=lengths,
            moments=self.moments,
            implementation=self.scan,
        )

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
        return TorchStepper(layer, batch) if fused is None else fused.stepper(layer.init_state(batch))

    def init_state(self, batch: int) -> MambaState:
        """Return the state at rest."""
        dtype = torch.promote_types(self.A_log.dtype, torch.float32)
        conv = self.A_log.new_zeros(batch, self.d_inner, self.d_conv - 1, dtype=dtype)
        return MambaState(conv, conv.new_zeros(batch, self.d_inner, self.d_state))

    def new_moments(self) -> Moments:
        """Return moments to gather into, of the states of one channel, over all channels."""
        return Moments((self.d_state, self.d_state), self.A_log.device)

    def explain(self, batch: int, length: int) -> str:
        """Return which implementation of the scan such inputs take, and why."""
        choice = Choice(self.scan, "asked for by `scan`")
        if self.scan == "auto":
            choice = choose_selective_scan(self.D.detach().expand(batch, length, -1))
        return f"{type(self).__name__}({self.extra_repr()}), {batch} x {length} steps on {self.D.device}: {choice}"

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        return f"d_model={self.d_model}, d_state={self.d_state}, dt_rank={self.dt_rank}"

    def _fused_step(self) -> Any:
        """Return the kernel of the parameters as they are, or None if there is none for them."""
        if self.scan not in ("auto", "numba") or not installed("numba"):
            return None
        from ._mamba_step import FusedStep, addresses

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


def _single(parameter: Tensor) -> Tensor:
    """Return a parameter in single precision at least."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _kept(value: Tensor, dtype: torch.dtype | None) -> nn.Parameter:
    """Return a parameter that no weight decay should touch."""
    parameter = nn.Parameter(value.to(dtype))
    parameter._no_weight_decay = True  # type: ignore[attr-defined]
    return parameter
