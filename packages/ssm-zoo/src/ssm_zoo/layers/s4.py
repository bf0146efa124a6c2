r"""S4: in every feature a continuous-time HiPPO system of its own, a diagonal less a low-rank matrix, made discrete.

Glossary, with the names of the paper
-------------------------------------
n           slots, complex states that stand for themselves and their conjugates; `d_state`. The N of the paper is 2n
r           rank of the low-rank part: 1 for legs and fout, 2 for legt; 0 after `load_system`
log_dt      log of the time step Δ, in seconds                        (H)
log_A_real  log of the decay: Re Λ = −exp(log_A_real)                 (H, n)
A_imag      frequency Im Λ                                            (H, n)
P           A = Λ − P P*, with the conjugates completed; re, im last  (H, n, r, 2)
B, C        input and output map, re and im last; C2 backwards        (H, n, 2)
D           feedthrough                                               (H)
Ā, B̄        (I − ΔA/2)⁻¹ (I + ΔA/2), (I − ΔA/2)⁻¹ ΔB: bilinear

C is the true one, not C (I − Ā^L) as the released code stores it: it serves any length, and a state can be carried on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssm_gramians import Diagonal, StateSpace

from .._errors import UnsupportedError
from ..scan import Choice
from ..scan.convolution import fft_conv, s4_kernel
from ..scan.convolution.dplr import discretize, dplr_scan
from ._channel_surgery import checked_poles
from .channels import ChannelLayer, as_complex, log_uniform
from .hippo import Measure, normal_plus_low_rank
from .s4d import S4D

SCANS = ("auto", "reference", "torch", "fft")


class S4(ChannelLayer):
    r"""$x_t = \bar A x_{t-1} + \bar B u_t,\; y_t = 2\,\mathrm{Re}(C x_t) + D u_t$ in each feature for itself.

    Maps (batch, length, d_model) to the same shape.

    Parameters
    ----------
    d_model
        Features in and out, H.
    d_state
        Complex slots of each feature, n: half the state size of the paper.
    init
        The HiPPO matrix that A and B start with: `legs`, `legt` or `fout`; see `ssm_zoo.layers.hippo`.
    dt_min, dt_max
        The steps Δ start between these, uniform in their logarithm, in seconds.
    bidirectional
        Read the sequence in both directions with the same A and B, and add the outputs of two matrices C.
    scan
        `reference` steps through the sequence in O(n r); `torch` scans in chunks with powers of the dense Ā; `fft` is
        the convolution with the kernel of the paper, by Cauchy products, and gives way to `torch` where a state is
        given or asked for, or moments are gathered; `auto` is `choose`.
    device, dtype
        Of the parameters.

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Gu, Goel, Ré, Efficiently modeling long sequences with structured state spaces, ICLR 2022. Departure: P = Q, which
    keeps A stable whatever the parameters are (Goel, Gu, Donahue, Ré, It's raw!, ICML 2022).
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 32,
        *,
        init: Measure = "legs",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        scan: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, d_state, bidirectional=bidirectional, scan=scan, scans=SCANS)
        start = normal_plus_low_rank(init, d_state)
        self.log_dt = nn.Parameter(log_uniform(d_model, dt_min, dt_max))
        decay = (-start.eigenvalues.real).log().float()
        self.log_A_real = nn.Parameter(decay.expand(d_model, -1).clone())
        self.A_imag = nn.Parameter(start.eigenvalues.imag.float().expand(d_model, -1).clone())
        for name, value in (("P", start.P), ("B", start.B)):
            planes = torch.view_as_real(value.to(torch.complex64))
            self.register_parameter(name, nn.Parameter(planes.expand(d_model, *planes.shape).clone()))
        for name in ("C", "C2") if bidirectional else ("C",):
            self.register_parameter(name, nn.Parameter(torch.randn(d_model, d_state, 2) / 2**0.5))
        self._finish(device, dtype)

    P: nn.Parameter

    @property
    def rank(self) -> int:
        """Return the rank r of the low-rank part."""
        return self.P.shape[2]

    def choose(self, batch: int, length: int, stateful: bool) -> Choice:
        """Return what `scan="auto"` takes, and why.

        ==========================================  ===========
        inputs                                      takes
        ==========================================  ===========
        one step                                    `reference`
        a state or moments are asked, or n <= 64    `torch`
        anything else                               `fft`
        ==========================================  ===========
        """
        if length <= 1:
            return Choice("reference", "one step is the recurrence itself")
        if stateful:
            return Choice("torch", "states are scanned in chunks")
        if self.d_state <= 64:
            return Choice("torch", "matrix products with so few states cost less than Cauchy products")
        return Choice("fft", "Cauchy products cost less than powers of so large a matrix")  # type: ignore[arg-type]

    def run(
        self, scan: str, p: Any, x: Tensor, C: Tensor, D: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs and last state of one direction."""
        parts = self._continuous(p)
        if scan == "fft":
            return fft_conv(x, s4_kernel(*parts[:3], as_complex(C), p.log_dt.exp(), x.shape[1])) + D * x, None
        return dplr_scan(
            x, *parts, as_complex(C), p.log_dt.exp(), D, state, lengths, moments=self.moments, implementation=scan
        )

    def _continuous(self, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return Λ, P and B."""
        return torch.complex(-p.log_A_real.exp(), p.A_imag), as_complex(p.P), as_complex(p.B)

    @torch.no_grad()
    def system(self) -> StateSpace:
        r"""Return $(\bar A, \bar B, 2C, D)$ of every feature in the coordinates ξ: dense, in double precision.

        Discrete, batched (H,), of order 2n. The layer reads its state after the input has entered, a state space
        before: $C(zI - A)^{-1} B$ is the layer's map without D, one step late. Gramians, Hankel values and errors are
        the same for both, and D stays. A bidirectional layer has the outputs [forward; backward], D counted with the
        forward one; dt is one step.
        """
        p = self._double()
        maps = [as_complex(p.C), as_complex(p.C2)] if self.bidirectional else [as_complex(p.C)]
        dense = [discretize(*self._continuous(p), C, p.log_dt.exp()) for C in maps]
        D = nn.functional.pad(p.D[:, None, None], (0, 0, 0, len(maps) - 1))
        C = torch.stack([each.C for each in dense], 1)
        return StateSpace(dense[0].A, dense[0].B[..., None], C, D, dt=1.0)

    @torch.no_grad()
    def load_system(self, system: StateSpace) -> None:
        """Become the layer of this diagonal system, in place: the low-rank part gets the rank 0.

        As an `S4D` such a layer runs faster: see `to_s4d`. The parameters are replaced, and an optimiser does not know
        the new ones; a reducer takes care of that.

        Parameters
        ----------
        system
            Paired and discrete, batched (H,), with any number of slots; of the form that `S4D.system` returns.

        Raises
        ------
        ShapeError, ReductionError
            If it does not fit the layer, or holds a NaN or an infinity.
        InstabilityError
            If a pole is on the unit circle or outside.
        """
        poles, B, C = checked_poles(self, system)
        dt = self.log_dt.double().exp()[:, None]
        A = 2 * (poles - 1) / (poles + 1) / dt
        scaled = B[..., 0] * (1 - A * dt / 2) / dt  # (I − ΔA/2)⁻¹ Δ of it is B
        values = {
            "log_A_real": (-A.real).clamp_min(torch.finfo(torch.float32).tiny).log(),
            "A_imag": A.imag,
            "P": torch.zeros(*poles.shape, 0, 2),
            "B": torch.view_as_real(scaled),
            "D": self.D.new_tensor(system.D[:, 0, 0].tolist()),
        } | {name: torch.view_as_real(c.contiguous()) for name, c in zip(("C", "C2"), C.unbind(1), strict=False)}
        self._replace(values)

    @torch.no_grad()
    def to_s4d(self, system: StateSpace | None = None) -> S4D:
        """Return the diagonal layer of a system, or of this layer if its rank is 0.

        A HiPPO matrix has no diagonal form worth the name: its eigenvectors are next to dependent. Reduce
        `layer.system()` first, and pass what `ssm_balance.diagonalize` makes of it.

        Parameters
        ----------
        system
            Paired and discrete, batched (H,), with any number of slots.

        Raises
        ------
        UnsupportedError
            If no system is given and the rank is not 0.
        ShapeError, ReductionError, InstabilityError
            As `load_system`.
        """
        if system is None:
            if self.rank:
                msg = f"the layer has a low-rank part of rank {self.rank}; pass a reduced, diagonal system"
                raise UnsupportedError(msg)
            system = self._diagonal_system()
        layer = S4D(
            self.d_model, system.order // 2, discretization="bilinear", bidirectional=self.bidirectional
        ).to(self.D)  # fmt: skip
        layer.log_dt.copy_(self.log_dt)
        layer.load_system(system)
        return layer.train(self.training)

    def _diagonal_system(self) -> StateSpace:
        p = self._double()
        half = torch.complex(-p.log_A_real.exp(), p.A_imag) * p.log_dt.exp()[:, None] / 2
        maps = [as_complex(p.C), as_complex(p.C2)] if self.bidirectional else [as_complex(p.C)]
        B = as_complex(p.B) * p.log_dt.exp()[:, None] / (1 - half)
        D = nn.functional.pad(p.D[:, None, None], (0, 0, 0, len(maps) - 1))
        return StateSpace(
            Diagonal((1 + half) / (1 - half), paired=True), B[..., None], torch.stack(maps, 1), D, dt=1.0
        )  # fmt: skip
