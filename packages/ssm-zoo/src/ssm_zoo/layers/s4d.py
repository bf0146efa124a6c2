r"""S4D: in every feature a diagonal continuous-time system of its own, discretised by a time step of its own.

Glossary, with the names of s4d.py
----------------------------------
n           slots, complex states that stand for themselves and their conjugates; `d_state`.
            The `d_state` of s4d.py (its N) counts both of a pair: it is 2n
log_dt      log of the time step Δ, in seconds                        (H)
log_A_real  log of the decay: Re A = −exp(log_A_real)                 (H, n)
A_imag      frequency Im A                                            (H, n)
C           output map for the input map 1, re and im last            (H, n, 2)
C2          C of the backward pass, if bidirectional                  (H, n, 2)
D           feedthrough                                               (H)
zoh         λ = exp(A Δ),                   b = (λ − 1) / A
bilinear    λ = (1 + ΔA/2) / (1 − ΔA/2),    b = Δ / (1 − ΔA/2)

The names and shapes are those of s4d.py without its prefix `kernel.`. The state is x⁺ = λ x + u: b is kept with C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ssm_gramians import Diagonal, StateSpace

from .._errors import require
from ..scan import Choice
from ..scan._operation import installed
from ..scan.channel import channel_scan
from ..scan.convolution import fft_conv, s4d_kernel
from ._channel_surgery import checked_poles, surgery_of
from ._s4d_start import Init, expm1, start
from .channels import ChannelLayer, as_complex, log_uniform

if TYPE_CHECKING:
    from jaxtyping import Complex

    from ._surgery import Surgery

SCANS = ("auto", "reference", "torch", "numba", "triton", "fft")

_MANY = 128  # slots above which the convolution wins against the fused recurrence on a CPU; measured, see `choose`
_LONG = 1024  # steps, likewise


class S4D(ChannelLayer):
    r"""$x_t = \lambda \odot x_{t-1} + u_t,\; y_t = 2\,\mathrm{Re}(b\,C \cdot x_t) + D u_t$ in each feature for itself.

    Maps (batch, length, d_model) to the same shape.

    Parameters
    ----------
    d_model
        Features in and out, H.
    d_state
        Complex slots of each feature, n: half of what s4d.py calls d_state.
    init
        Where the continuous eigenvalues start: `legs` at those of the normal part of HiPPO-LegS, `lin`, `inv` and
        `quad` at $-\tfrac12 + i\,\omega_k$ with frequencies linear, inverse or quadratic in k, `real` at $-1, -2, ...$
    discretization
        `zoh` (input held over a step) or `bilinear`.
    dt_min, dt_max
        The steps Δ start between these, uniform in their logarithm, in seconds.
    bidirectional
        Read the sequence in both directions with the same λ, and add the outputs of two matrices C.
    scan
        `fft` for the convolution, else the implementation that `channel_scan` takes; `auto` is `choose`. Where a state
        is given or asked for, or moments are gathered, `fft` gives way to what `auto` takes.
    device, dtype
        Of the parameters.

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Gu, Gupta, Goel, Ré, On the parameterization and initialization of diagonal state space models, NeurIPS 2022.
    """

    C: nn.Parameter

    def __init__(
        self,
        d_model: int,
        d_state: int = 32,
        *,
        init: Init = "legs",
        discretization: Literal["zoh", "bilinear"] = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        scan: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, d_state, bidirectional=bidirectional, scan=scan, scans=SCANS)
        require(
            discretization in ("zoh", "bilinear"), f"got discretization={discretization!r}, wanted 'zoh' or 'bilinear'"
        )
        self.discretization = discretization
        self.log_dt = nn.Parameter(log_uniform(d_model, dt_min, dt_max))
        A = start(init, d_state).to(torch.complex64).expand(d_model, -1)
        self.log_A_real = nn.Parameter((-A.real).log())
        self.A_imag = nn.Parameter(A.imag.clone())
        for name in ("C", "C2") if bidirectional else ("C",):
            self.register_parameter(name, nn.Parameter(torch.randn(d_model, d_state, 2) / 2**0.5))
        self._finish(device, dtype)

    def choose(self, batch: int, length: int, stateful: bool) -> Choice:
        """Return what `scan="auto"` takes, and why.

        ==============================================  ===========
        on                                              takes
        ==============================================  ===========
        one step                                        `reference`
        the CPU with Numba, n <= 128 or length < 1024   `numba`
        anything else, if a state or moments are asked  the fused kernel of the device, or `torch`
        anything else                                   `fft`
        ==============================================  ===========
        """
        from ..scan.channel.operation import OPERATION

        if length <= 1:
            return Choice("reference", "one step is the recurrence itself")
        device = self.D.device
        fused = OPERATION.fused(device)
        few = self.d_state <= _MANY or length < _LONG or batch == 1
        if stateful or (device.type == "cpu" and fused.implementation == "numba" and few):
            return fused
        return Choice("fft", "the convolution costs less than so many states")  # type: ignore[arg-type]

    def run(
        self, scan: str, p: Any, x: Tensor, C: Tensor, D: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs and last state of one direction."""
        eigenvalues, read = self.eigenvalues(p), 2 * self.input_scale(p) * as_complex(C)
        if scan == "fft":
            return fft_conv(x, s4d_kernel(eigenvalues, read, x.shape[1])) + D * x, None
        return channel_scan(
            x, eigenvalues, read, state, D=D, lengths=lengths, moments=self.moments, implementation=scan  # type: ignore[arg-type]
        )  # fmt: skip

    def eigenvalues(self, p: Any) -> Complex[Tensor, "H n"]:
        """Return λ."""
        turn = self._turn(p)
        return turn.exp() if self.discretization == "zoh" else (1 + turn / 2) / (1 - turn / 2)

    def input_scale(self, p: Any) -> Complex[Tensor, "H n"]:
        """Return b."""
        turn = self._turn(p)
        if self.discretization == "zoh":
            return expm1(turn) / torch.complex(-p.log_A_real.exp(), p.A_imag)
        return p.log_dt.exp()[:, None] / (1 - turn / 2)

    def _turn(self, p: Any) -> Tensor:
        return torch.complex(-p.log_A_real.exp(), p.A_imag) * p.log_dt.exp()[:, None]

    def place(self, eigenvalues: Complex[Tensor, "H s"]) -> dict[str, Tensor]:
        """Return the parameters of these eigenvalues for the time steps as they are."""
        safe = torch.where(eigenvalues == 0, torch.finfo(torch.float32).tiny, eigenvalues)  # λ = 0 has no logarithm
        turn = safe.log() if self.discretization == "zoh" else 2 * (safe - 1) / (safe + 1)
        A = turn / self.log_dt.detach().double().exp()[:, None]
        return {"log_A_real": (-A.real).clamp_min(torch.finfo(torch.float32).tiny).log(), "A_imag": A.imag}

    @torch.no_grad()
    def system(self) -> StateSpace:
        r"""Return $(\Lambda, 1, b C, D)$ of every feature, paired and discrete, batched (H,), in double precision.

        The layer reads its state after the input has entered, a state space before: $C(zI - \Lambda)^{-1} B$ is the
        layer's map without D, one step late. Gramians, Hankel values and errors are the same for both, and D stays.
        A bidirectional layer has the outputs [forward; backward], D counted with the forward one; dt is one step.
        """
        p = self._double()
        maps = [as_complex(p.C), as_complex(p.C2)] if self.bidirectional else [as_complex(p.C)]
        C = torch.stack([self.input_scale(p) * part for part in maps], 1)  # (H, 1 or 2, n)
        D = nn.functional.pad(p.D[:, None, None], (0, 0, 0, len(maps) - 1))
        zoh = self.discretization == "zoh"
        A = Diagonal.from_log(self._turn(p), paired=True) if zoh else Diagonal(self.eigenvalues(p), paired=True)
        return StateSpace(A, torch.ones_like(C[:, :1]).mT, C, D, dt=1.0)

    @torch.no_grad()
    def load_system(self, system: StateSpace) -> None:
        """Become the layer of this system: the inverse of `system`, whatever the number of slots.

        The parameters are replaced, and an optimiser does not know the new ones; a reducer takes care of that.

        Parameters
        ----------
        system
            Paired and discrete, batched (H,), of the form that `system` returns; B and C may be scaled freely against
            each other.

        Raises
        ------
        ShapeError, ReductionError
            If it does not fit the layer, or holds a NaN or an infinity.
        InstabilityError
            If a pole is on the unit circle or outside.
        """
        poles, B, C = checked_poles(self, system)
        D = self.D.new_tensor(system.D[:, 0, 0].tolist())
        self._replace(self._placed(poles, B, C) | {"D": D})

    @torch.no_grad()
    def surgery(self, system: StateSpace, left: Any, right: Any) -> Surgery:
        r"""Return what turns this layer into one with the given system, the same number of slots in every feature.

        A row of C moves with the basis and hands its moments on exactly; the parameters of a pole start with no first
        moment and the second moment of the nearest old pole of their feature (or its conjugate).

        Parameters
        ----------
        system
            Paired and discrete, batched (H,), with s slots; B and C may be scaled freely against each other.
        left, right
            The maps $z = \text{left}^H \xi$ and $\xi = 2\,\mathrm{Re}(\text{right}\,z)$ between the old real
            coordinates and the new slots, (H, 2n, s) complex.

        Raises
        ------
        ShapeError, ReductionError
            If the arguments do not fit the layer, or hold a NaN or an infinity.
        InstabilityError
            If a pole is on the unit circle or outside.
        """
        return surgery_of(self, system, left, right)

    def _placed(self, poles: Tensor, B: Tensor, C: Tensor) -> dict[str, Tensor]:
        """Return the parameters of a system, in double precision."""
        placed = self.place(poles)
        p = self._double()
        vars(p).update(placed)
        maps = (C * B.mT / self.input_scale(p)[:, None]).unbind(1)
        return placed | {name: torch.view_as_real(c).clone() for name, c in zip(("C", "C2"), maps, strict=False)}

    def _fuse(self) -> Any:
        if self.bidirectional or self.scan not in ("auto", "numba", "fft") or not installed("numba"):
            return None
        from ._channel_step import ChannelStep

        return ChannelStep(self) if ChannelStep.suits(self) else None
