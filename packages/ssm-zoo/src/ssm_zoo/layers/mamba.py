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

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._errors import require
from ..scan import Choice, Implementation, Moments, choose_selective_scan, scan_threads, selective_scan
from ..scan._operation import installed
from ._mamba_state import MambaState
from .selective import SelectiveLayer, kept, raw_steps, single

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Mamba(SelectiveLayer):
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
        self.A_log = kept(rates.log().repeat(d_inner, 1), dtype)
        self.D = kept(torch.ones(d_inner, device=device), dtype)
        self.out_proj = nn.Linear(d_inner, d_model, bias=bias, **where)

    @torch.no_grad()
    def _start_dt(self, init: str, scale: float, low: float, high: float, floor: float) -> None:
        if init == "constant":
            nn.init.constant_(self.dt_proj.weight, scale)
        else:
            nn.init.uniform_(self.dt_proj.weight, -scale, scale)
        bias = self.dt_proj.bias
        bias.copy_(raw_steps(self.d_inner, low, high, floor, bias.device))
        bias._no_reinit = True  # type: ignore[attr-defined]
        bias._no_weight_decay = True  # type: ignore[attr-defined]

    @property
    def d_state(self) -> int:
        """Return N."""
        return self.A_log.shape[1]

    def _run(
        self, x: Tensor, state: MambaState | None, lengths: Tensor | None, *, stateful: bool
    ) -> tuple[Tensor, MambaState]:
        del stateful
        start = self._start(state, x.shape[0])
        if self._runs_in_tiles(x):
            from ._mamba_fused import run

            return run(self, x, start, lengths)
        u, z = self.in_proj(x).chunk(2, -1)
        u, conv = self._filter(u, start.conv, lengths)
        y, ssm = self._scan(u, z, start.ssm, lengths)
        return self._project(y, lengths), MambaState(conv, ssm)

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
        u, _ = self.in_proj(self._inputs(x, "batch", "length")).chunk(2, -1)
        u, _ = self._filter(u, self._window(x.shape[0]), lengths)
        return linear(u.to(self.x_proj.weight.dtype), self.x_proj.weight[-self.d_state :])

    def _scan(self, u: Tensor, z: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        N = self.d_state
        dt, B, C = self.x_proj(u.to(self.x_proj.weight.dtype)).split([self.dt_rank, N, N], -1)
        return selective_scan(
            u,
            linear(dt, self.dt_proj.weight),
            -single(self.A_log).exp(),
            B,
            C,
            state,
            D=single(self.D),
            z=z,
            dt_bias=single(self.dt_proj.bias),
            dt_softplus=True,
            lengths=lengths,
            moments=self.moments,
            implementation=self.scan,
        )

    def init_state(self, batch: int) -> MambaState:
        """Return the state at rest."""
        conv = self._window(batch)
        return MambaState(conv, conv.new_zeros(batch, self.d_inner, self.d_state))

    def new_moments(self) -> Moments:
        """Return moments to gather into, of the states of one channel, over all channels."""
        return Moments((self.d_state, self.d_state), self.A_log.device)

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        return f"d_model={self.d_model}, d_state={self.d_state}, dt_rank={self.dt_rank}"

    def _chosen(self, batch: int, length: int) -> Choice:
        return choose_selective_scan(self.D.detach().expand(batch, length, -1))

    def _kernel(self) -> Any:
        from ._mamba_step import MambaStep

        return MambaStep
