"""The same elimination where the backend has compiled loops for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._arrays import Array, is_complex, namespace, real
from ._cauchy_greedy import LOOK, Factor, is_hopeless
from ._cauchy_pairing import ContinuousModes, LogModes, Modes
from ._cauchy_tangential import SeveralInputs, made_real, turn

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from ..backends import Backend


def eliminate_compiled(
    modes: Modes, B: Inexact[Array, "*batch n m"], paired: bool, backend: Backend, *, rtol: float, limit: int
) -> Factor | None:
    """Return what `eliminate_greedily` or `eliminate_many` would; None where there is no compiled loop for it."""
    if "cauchy_kernel" not in backend.provides:
        return None
    kind = 0 if isinstance(modes, ContinuousModes) else 1
    if B.shape[-1] == 1 and not isinstance(modes, LogModes):
        return _single_input(kind, modes, B, paired, backend, rtol=rtol, limit=limit)
    if B.shape[-1] > 1 and rtol == 0 and limit >= B.shape[-2]:
        return _several_inputs(kind, modes, B, paired, backend)
    return None


def _single_input(
    kind: int, modes: Modes, B: Array, paired: bool, backend: Backend, *, rtol: float, limit: int
) -> Factor:
    elimination, n = backend.eliminate_modes(kind, paired, modes.x, modes.margin, B[..., 0]), B.shape[-2]
    while True:
        traces = elimination.traces
        done = traces[-1] <= rtol or len(traces) > n
        if done or len(traces) > limit or is_hopeless(traces, rtol=rtol, limit=limit, modes=n):
            return Factor(elimination.factor(), traces, done)
        most = min(limit, n) + 1 - len(traces)
        elimination.advance(most if rtol == 0 else min(LOOK, most), rtol)


def _several_inputs(kind: int, modes: Modes, B: Array, paired: bool, backend: Backend) -> Factor:
    xp, rows = namespace(B), SeveralInputs.of(modes, B, twofold=True)
    n = B.shape[-2]
    if paired:
        rows = rows.with_conjugates()
    Z, chosen = backend.eliminate_rows(kind, paired, rows.x, rows.G, rows.modes.margin, rows.noise)
    traces = [1.0] * n + [0.0]
    if not paired:
        return Factor(Z.mT if is_complex(B) else real(Z.mT), traces, True)
    odd, even = Z[..., 0::2, :], Z[..., 1::2, :]  # (..., steps, 2n)
    head = xp.take_along_axis(odd, chosen[..., None], axis=-1)  # (..., steps, 1)
    mixed, tail = (xp.take_along_axis(part, chosen[..., None] + n, axis=-1) for part in (odd, even))
    columns = made_real(odd[..., :n], odd[..., n:], even[..., :n], even[..., n:], turn(head, mixed, tail))
    stacked = xp.stack(columns, axis=-2)  # (..., steps, 2, 2n)
    return Factor(xp.reshape(stacked, (*Z.shape[:-2], 2 * n, 2 * n)).mT, traces, True)
