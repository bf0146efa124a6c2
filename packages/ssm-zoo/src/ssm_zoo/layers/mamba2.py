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

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from .._errors import require
from ..scan import Choice, Implementation, Moments
from ..scan.dual import choose_ssd, ssd
from ._gated_norm import GatedRMSNorm
from ._mamba_state import MambaState
from .selective import SelectiveLayer, kept, raw_steps, single

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Mamba2(SelectiveLayer):
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

    mix_B: nn.Parameter | None  # noqa: N815
    mix_C: nn.Parameter | None  # noqa: N815

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
        self.d_model, self.d_conv, self.expand, self.headdim, self.ngroups = d_model, d_conv, expand, headdim, ngroups
        self.d_inner, self.nheads, self.dt_limit, self.D_has_hdim = d_inner, nheads, dt_limit, D_has_hdim
        self.chunk_size, self.scan, self.layer_idx = chunk_size, scan, layer_idx
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        channels = d_inner + 2 * ngroups * rows
        self.in_proj = nn.Linear(d_model, d_inner + channels + nheads, bias=bias, **where)
        self.conv1d = nn.Conv1d(
            channels, channels, d_conv, groups=channels, padding=d_conv - 1, bias=conv_bias, **where
        )
        self.dt_bias = kept(raw_steps(nheads, dt_min, dt_max, dt_init_floor, device), dtype)
        self.A_log = kept(torch.empty(nheads, device=device).uniform_(low, high).log(), dtype)
        self.D = kept(torch.ones(d_inner if D_has_hdim else nheads, device=device), dtype)
        if learnable_init_states:
            self.init_states = kept(torch.zeros(nheads, headdim, d_state, device=device), dtype)
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

    def _run(
        self, x: Tensor, state: MambaState | None, lengths: Tensor | None, *, stateful: bool
    ) -> tuple[Tensor, MambaState]:
        del stateful
        start = self._start(state, x.shape[0])
        z, xBC, dt = self._split(x)
        xBC, conv = self._filter(xBC, start.conv, lengths)
        y, ssm = self._scan(xBC, dt, start.ssm, lengths)
        gate = "reference" if self.scan in ("reference", "torch") else "auto"
        y = self.norm(y, z, gate) if hasattr(self, "norm") else y * silu(z.to(y.dtype))
        return self._project(y, lengths), MambaState(conv, ssm)

    def output_maps(
        self, x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch length g N"]:
        """Return C of every step and group, for sequences from their beginning whose real steps come first."""
        _, xBC, _ = self._split(self._inputs(x, "batch", "length"))
        xBC, _ = self._filter(xBC, self._window(x.shape[0]), lengths)
        return self._mixed(xBC[..., -self.ngroups * self._rows :], self.mix_C)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the gate, what the convolution takes, and the raw steps."""
        return self.in_proj(x).split([self.d_inner, self.conv1d.out_channels, self.nheads], -1)

    def _scan(self, xBC: Tensor, dt: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        shared = self.ngroups * self._rows
        x, B, C = xBC.split([self.d_inner, shared, shared], -1)
        D = single(self.D)
        y, last = ssd(
            x.unflatten(-1, (-1, self.headdim)),
            dt,
            -single(self.A_log).exp(),
            self._mixed(B, self.mix_B),
            self._mixed(C, self.mix_C),
            D.unflatten(0, (-1, self.headdim)) if self.D_has_hdim else D,
            state,
            dt_bias=single(self.dt_bias),
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
        return rows if mix is None else torch.einsum("...gn,grn->...gr", rows, single(mix))

    def init_state(self, batch: int) -> MambaState:
        """Return the state before the first step: at rest, or what was learned."""
        conv = self._window(batch)
        shape = (self.nheads, self.headdim, self.d_state)
        if hasattr(self, "init_states"):
            return MambaState(conv, self.init_states.to(conv.dtype).expand(batch, *shape).contiguous())
        return MambaState(conv, conv.new_zeros(batch, *shape))

    def new_moments(self) -> Moments:
        """Return moments to gather into, of the rows of the states of every group."""
        return Moments((self.ngroups, self.d_state, self.d_state), self.A_log.device)

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        sizes = f"d_model={self.d_model}, d_state={self.d_state}, headdim={self.headdim}"
        sizes = sizes if self.mix_B is None else f"{sizes}, d_unmixed={self.d_unmixed}"
        return sizes if self.ngroups == 1 else f"{sizes}, ngroups={self.ngroups}"

    def _chosen(self, batch: int, length: int) -> Choice:
        return choose_ssd(self.A_log.detach()[:, None].expand(batch, length, -1, self.headdim))

    def _kernel(self) -> Any:
        from ._mamba2_step import Mamba2Step

        return Mamba2Step
