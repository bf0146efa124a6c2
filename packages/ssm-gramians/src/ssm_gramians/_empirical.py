r"""Gramians from data: $P = \mathrm{E}[x x^H]$ over the states that a system really visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import array_api_compat

from ._arrays import Array, adjoint, check_floating, imag, namespace, promote, real
from ._errors import DtypeError, ShapeError
from ._untraced import untraced
from .solvers.factored_smith import compress

if TYPE_CHECKING:
    from jaxtyping import Bool, Inexact, Int


@dataclass(frozen=True, eq=False)
class EmpiricalGramian:
    r"""$P = \frac{1}{N}\sum_k x_k x_k^H$, as a factor that grows with the data and is never squared.

    Begin with `EmpiricalGramian.of(states)`, go on with `update`, join with `merge`: the result is that of all states
    at once, up to rounding, in any order. Each step is a QR decomposition of at most n columns and the new states, so
    the small eigenvalues of P keep the digits that a sum of squares loses.

    Parameters
    ----------
    root
        R, shape (..., n, k), k <= n, with $R R^H$ the sum over the states, or over their deviations from the mean.
    count
        Number N of states, an integer array, shape (...).
    mean
        Their mean, shape (..., n), where the deviations from it count; None where the states themselves do.
    """

    root: Inexact[Array, "*batch n k"]
    count: Int[Array, "*batch"]
    mean: Inexact[Array, "*batch n"] | None = None

    @classmethod
    def of(
        cls,
        states: Inexact[Array, "*batch samples n"],
        *,
        mask: Bool[Array, "*batch samples"] | None = None,
        axis: int | tuple[int, ...] = -2,
        centred: bool = False,
        paired: bool = False,
    ) -> EmpiricalGramian:
        """Return the Gramian of these states.

        Parameters
        ----------
        states
            Shape (..., samples, n): the last axis holds the entries of a state, leading ones a batch of systems.
        mask
            True for the states that count, False for padding, whose entries are never looked at; shape that of states
            without the last axis, or broadcast to it.
        axis
            The axis, or axes, to average over: `(0, 1)` for (sequences, time, n) of one system.
        centred
            Take the deviations from the mean: the covariance instead of the second moment.
        paired
            The states are the complex slots of a paired system: take their real coordinates [Re x, Im x], 2n of them.

        Raises
        ------
        ShapeError
            If the axes are not distinct axes before the last, or the mask does not fit.
        DtypeError
            If the states are not floating point, or the mask is not boolean.
        """
        xp = check_floating(states=states)
        states = xp.concat((real(states), imag(states)), axis=-1) if paired else states
        rows, kept = _rows(states, mask, axis)
        count = xp.sum(xp.astype(kept, xp.int64), axis=-1)
        rows = xp.where(kept[..., None], rows, xp.zeros_like(rows))
        if not centred:
            return cls(compress(rows.mT), count)
        mean = xp.sum(rows, axis=-2) / xp.astype(xp.clip(count, 1), rows.dtype)[..., None]
        rows = xp.where(kept[..., None], rows - mean[..., None, :], xp.zeros_like(rows))
        return cls(compress(rows.mT), count, mean)

    def update(
        self,
        states: Inexact[Array, "*batch samples n"],
        *,
        mask: Bool[Array, "*batch samples"] | None = None,
        axis: int | tuple[int, ...] = -2,
        paired: bool = False,
    ) -> EmpiricalGramian:
        """Return the Gramian of the states so far and these; arguments as for `of`."""
        centred = self.mean is not None
        return self.merge(EmpiricalGramian.of(states, mask=mask, axis=axis, centred=centred, paired=paired))

    def merge(self, other: EmpiricalGramian) -> EmpiricalGramian:
        r"""Return the Gramian of the states of both.

        The means of centred ones add $\frac{N_1 N_2}{N_1 + N_2} (m_1 - m_2)(m_1 - m_2)^H$.

        Raises
        ------
        ShapeError
            If orders or batches differ, or only one of them is centred.

        References
        ----------
        T. F. Chan, G. H. Golub, R. J. LeVeque, Amer. Statist. 37 (1983) 242-247.
        """
        mine, theirs = tuple(self.root.shape[:-1]), tuple(other.root.shape[:-1])
        if mine != theirs or (self.mean is None) != (other.mean is None):
            kinds = ["centred" if part.mean is not None else "not centred" for part in (self, other)]
            msg = f"got {mine}, {kinds[0]}, and {theirs}, {kinds[1]}; want the same batch, order and kind"
            raise ShapeError(msg)
        first, second = promote(self.root, other.root)
        count = self.count + other.count
        if self.mean is None or other.mean is None:
            return EmpiricalGramian(compress(first, second), count)
        xp = namespace(first)
        share = xp.astype(other.count, real(first).dtype) / xp.astype(xp.clip(count, 1), real(first).dtype)
        gap = other.mean - self.mean
        weight = xp.sqrt(share * xp.astype(self.count, share.dtype))
        apart = (xp.astype(weight, gap.dtype)[..., None] * gap)[..., None]
        mean = self.mean + xp.astype(share, gap.dtype)[..., None] * gap
        return EmpiricalGramian(compress(first, second, apart), count, mean)

    def factor(self) -> Inexact[Array, "*batch n k"]:
        r"""Return $Z = R / \sqrt N$ with $P = Z Z^H$.

        Raises
        ------
        ValueError
            If no state counts, for one of the systems.
        """
        xp = namespace(self.root)
        if bool(xp.any(self.count == 0)):
            msg = "no state counts for one of the systems; want at least one that is not masked"
            raise ValueError(msg)
        scale = xp.astype(xp.sqrt(xp.astype(self.count, real(self.root).dtype)), self.root.dtype)
        return self.root / scale[..., None, None]

    def gramian(self) -> Inexact[Array, "*batch n n"]:
        r"""Return $P = Z Z^H$."""
        Z = self.factor()
        return Z @ adjoint(Z)


@untraced
def empirical_factor(
    states: Inexact[Array, "*batch samples n"],
    *,
    mask: Bool[Array, "*batch samples"] | None = None,
    axis: int | tuple[int, ...] = -2,
    centred: bool = False,
    paired: bool = False,
) -> Inexact[Array, "*batch n k"]:
    r"""Return Z with $Z Z^H = \frac{1}{N}\sum_k x_k x_k^H$: `EmpiricalGramian.of(...).factor()`.

    Parameters
    ----------
    states
        Shape (..., samples, n).
    mask
        True for the states that count, False for padding.
    axis
        The axis, or axes, to average over.
    centred
        Take the deviations from the mean.
    paired
        The states are the complex slots of a paired system.
    """
    return EmpiricalGramian.of(states, mask=mask, axis=axis, centred=centred, paired=paired).factor()


def _rows(states: Array, mask: Array | None, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
    """Return states (..., samples, n) and which of them count, (..., samples), with the samples on one axis."""
    xp, dims = namespace(states), states.ndim
    axes = tuple(sorted(k % dims for k in ((axis,) if isinstance(axis, int) else axis))) if dims else ()
    if not axes or len(set(axes)) < len(axes) or axes[-1] == dims - 1:
        msg = f"states have shape {tuple(states.shape)}, axis is {axis}; want sample axes before the last one"
        raise ShapeError(msg)
    if mask is None:
        mask = xp.ones(states.shape[:-1], dtype=xp.bool, device=array_api_compat.device(states))
    if not xp.isdtype(mask.dtype, "bool"):
        msg = f"mask has dtype {mask.dtype}; want booleans, True for the states that count"
        raise DtypeError(msg)
    try:
        mask = xp.broadcast_to(mask, states.shape[:-1])
    except (ValueError, RuntimeError) as error:
        msg = f"mask has shape {tuple(mask.shape)}; want {tuple(states.shape[:-1])}: that of the states without n"
        raise ShapeError(msg) from error
    batch = tuple(k for k in range(dims - 1) if k not in axes)
    lead = tuple(states.shape[k] for k in batch)
    samples = 1
    for k in axes:
        samples *= states.shape[k]
    rows = xp.reshape(xp.permute_dims(states, (*batch, *axes, dims - 1)), (*lead, samples, states.shape[-1]))
    return rows, xp.reshape(xp.permute_dims(mask, (*batch, *axes)), (*lead, samples))
