"""From what a layer is balanced: the two factors, and what is known about the error."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import ssm_gramians as sg
from ssm_gramians import Diagonal, StateSpace

from .._errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..layers import Reducible


class Balancing(Protocol):
    """Turns a layer, and the activations it sees, into the two factors of a projection."""

    has_bound: bool
    """Whether twice the sum of the neglected Hankel singular values bounds the H∞ error."""

    def factors(self, layer: Reducible, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return `Z_P` and `Z_Q` in the real coordinates of the layer's system, NumPy, float64."""
        ...


@dataclass(frozen=True)
class WhiteNoise:
    r"""The classical Gramians, $A P A^T - P + B B^T = 0$ and $A^T Q A - Q + C^T C = 0$.

    What the layer does to white noise over an infinite horizon. Carries the a-priori bound.
    """

    has_bound = True

    def factors(self, layer: Reducible, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors of the classical Gramians; the activations play no part."""
        del inputs
        Z_P, Z_Q = sg.gramian_factors(on_host(layer.system()), solver=sg.ClosedForm(), backend=_backend())
        return Z_P, Z_Q


@dataclass(frozen=True)
class Activations:
    r"""$P = E[\xi \xi^T]$ over real activations, $Q = \sum_{k<L} (1 - k/L) (A^T)^k C^T C A^k$.

    What the layer does to the sequences it really sees, and what a state still has time to cause in a sequence of
    length L. Keeps far fewer states at equal accuracy than white noise does; there is no a-priori bound, so the error
    is measured on activations that were held out.

    Parameters
    ----------
    horizon
        L in steps; the length of the sequences if None.

    Raises
    ------
    OptionError
        If the horizon is below 1.
    """

    horizon: int | None = None
    has_bound = False

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            msg = f"horizon is {self.horizon}; want at least one step, or None for the length of the sequences"
            raise OptionError(msg)

    def factors(self, layer: Reducible, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors of the second moment of the states and of the observability within the horizon."""
        horizon = inputs.shape[1] if self.horizon is None else self.horizon
        P = layer.second_moment(inputs).cpu().numpy()
        Q = sg.observability_gramian(on_host(layer.system()), horizon=horizon, average=True)
        Z_P, Z_Q = (sg.get_backend(gramian).factor(gramian) for gramian in (P, Q))
        return Z_P, Z_Q


def on_host(system: StateSpace) -> StateSpace:
    """Return a layer's system in NumPy arrays: the linear algebra of a reduction is LAPACK's, on the CPU."""
    A, B, C, D = (matrix.cpu().numpy() for matrix in (system.A.eigenvalues, system.B, system.C, system.D))
    return StateSpace(Diagonal(A, paired=True), B, C, D, dt=system.dt)


def _backend() -> str:
    return "numba" if find_spec("numba") else "scipy"


def balancing(choice: str | Balancing) -> Balancing:
    """Return the balancing named "activations" or "white", or the object itself.

    Raises
    ------
    OptionError
        If the name is neither.
    """
    named = {"activations": Activations, "white": WhiteNoise}
    if not isinstance(choice, str):
        return choice
    if choice not in named:
        msg = f"balance is {choice!r}; want one of {', '.join(map(repr, named))}, or a Balancing object"
        raise OptionError(msg)
    return named[choice]()
