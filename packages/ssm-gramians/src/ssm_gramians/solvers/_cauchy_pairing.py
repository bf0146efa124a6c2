r"""How two modes meet in a Gramian of diagonal A: $P_{ij} = g_i g_j^H / \mathrm{meet}_{ij}$.

A step of the elimination with pivot p multiplies generators by $\mathrm{apart}_{ip} / \mathrm{meet}_{ip}$. Both are
products and differences of inputs, so that neither ever cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import array_api_compat

from .._arrays import Array, as_complex, conj, imag, is_complex, join, namespace, real
from .._diagonal import Diagonal
from .._unit_circle import exp_minus_one, one_minus_square

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from .._equations import Equation


@dataclass(frozen=True, eq=False)
class Modes:
    """One number x for each eigenvalue, or slot, and what is derived from it."""

    x: Inexact[Array, "*batch n"]
    margin: Float[Array, "*batch n"]  # the meet of a mode with itself, positive for a stable one

    def map(self, function: Callable[[Array], Array]) -> Self:
        """Return the same with each array replaced by `function(array)`."""
        return type(self)(*(function(getattr(self, field.name)) for field in fields(self)))

    def at(self, chosen: Array) -> Self:
        """Return the mode where `chosen` is true, one a system."""
        return self.map(lambda values: pick(values, chosen))

    def part(self, where: Array | slice) -> Self:
        """Return some of the modes of one system."""
        return self.map(lambda values: values[where])

    def conjugated(self) -> Self:
        """Return the conjugate modes."""
        return self.map(conj)

    def with_conjugates(self) -> Self:
        """Return the modes, then their conjugates."""
        return self.map(lambda values: namespace(values).concat((values, conj(values)), axis=-1))

    def cast(self, dtype: Any) -> Self:
        """Return the same with complex modes if the dtype is complex; the margins are real in any case."""
        if not namespace(self.x).isdtype(dtype, "complex floating"):
            return self
        names = [field.name for field in fields(self)]
        return type(self)(*(v if k == "margin" else as_complex(v) for k in names for v in [getattr(self, k)]))

    def against(self, pivot: Self) -> tuple[Inexact[Array, "*batch n"], Inexact[Array, "*batch n"]]:
        """Return apart and meet of every mode with the pivot's, shape (..., 1)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ContinuousModes(Modes):
    r"""$x = -\lambda$: apart is $x_i - x_p$, meet $x_i + \bar x_p$."""

    def against(self, pivot: Self) -> tuple[Inexact[Array, "*batch n"], Inexact[Array, "*batch n"]]:
        """Return apart and meet of every mode with the pivot's, shape (..., 1)."""
        return self.x - pivot.x, self.x + conj(pivot.x)


@dataclass(frozen=True, eq=False)
class DiscreteModes(Modes):
    r"""$x = \lambda$: apart is $x_i - x_p$, meet $1 - x_i \bar x_p$."""

    def against(self, pivot: Self) -> tuple[Inexact[Array, "*batch n"], Inexact[Array, "*batch n"]]:
        """Return apart and meet of every mode with the pivot's, shape (..., 1); see `one_minus_product`."""
        gap = self.x - pivot.x
        half = (self.margin + pivot.margin + real(gap) * real(gap) + imag(gap) * imag(gap)) / 2
        if not is_complex(gap):
            return gap, half
        return gap, join(half, imag(self.x) * real(gap) - real(self.x) * imag(gap))


@dataclass(frozen=True, eq=False)
class LogModes(Modes):
    r"""$x = e^\ell$: apart is $x_p (e^{\ell_i - \ell_p} - 1)$, meet $1 - e^{\ell_i + \bar\ell_p}$."""

    log: Inexact[Array, "*batch n"]

    def against(self, pivot: Self) -> tuple[Inexact[Array, "*batch n"], Inexact[Array, "*batch n"]]:
        """Return apart and meet of every mode with the pivot's, shape (..., 1)."""
        return pivot.x * exp_minus_one(self.log - pivot.log), -exp_minus_one(self.log + conj(pivot.log))


def modes_of(equation: Equation) -> Modes:
    """Return the modes of an equation with diagonal A: one for each eigenvalue, or slot."""
    assert isinstance(equation.A, Diagonal)
    values, logs = equation.A.eigenvalues, equation.A.log_eigenvalues
    if equation.name == "lyapunov":
        return ContinuousModes(-values, -2 * real(values))
    if logs is None:
        return DiscreteModes(values, one_minus_square(values))
    return LogModes(values, -namespace(logs).expm1(2 * real(logs)), logs)


def pick(values: Inexact[Array, "*batch n"], chosen: Array) -> Inexact[Array, "*batch 1"]:
    """Return the one value of each system where `chosen` is true, in a way that every array library knows."""
    if values.ndim == chosen.ndim == 1 and array_api_compat.is_numpy_array(values):
        return values[chosen]  # a third of the time of a small system otherwise; a device would have to be waited for
    xp = namespace(values)
    return xp.sum(xp.where(chosen, values, xp.zeros_like(values)), axis=-1, keepdims=True)


def largest(values: Float[Array, "*batch n"]) -> Array:
    """Return a mask of the largest value of each system: the first one, where several are."""
    xp = namespace(values)
    order = xp.arange(values.shape[-1], device=array_api_compat.device(values))
    return order == xp.argmax(values, axis=-1, keepdims=True)
