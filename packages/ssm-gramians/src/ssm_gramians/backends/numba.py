"""NumPy arrays with compiled, multi-threaded loops for diagonal systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numba
import numpy as np

from ._cauchy_elimination import Elimination, eliminate_rows
from ._diagonal_kernels import gramian
from ._own_dual_kernel import scaled_pair
from ._smith_kernels import smith_sums
from .scipy import ScipyBackend

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact

    from .._arrays import Array


class NumbaBackend(ScipyBackend):
    """What `scipy` does, with one fused pass over memory where the closed form takes a dozen.

    The first call compiles, for some seconds; the result is cached on disk.
    """

    name: ClassVar[str] = "numba"
    provides: ClassVar[frozenset[str]] = ScipyBackend.provides | {"diagonal_kernel", "smith_kernel", "cauchy_kernel"}

    @property
    def threads(self) -> int:
        """Return the number of threads that Numba was given."""
        return int(numba.get_num_threads())

    def stein_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $G_{ij} / (1 - a_i \bar b_j)$ to full relative accuracy, as `one_minus_product` does."""
        return _run(_stein_kernel, G, a, b, _one_minus_square(a), _one_minus_square(b))

    def lyapunov_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $-G_{ij} / (a_i + \bar b_j)$."""
        return _run(_lyapunov_kernel, G, a, b)

    def diagonal_gramian(
        self, a: Inexact[Array, "*batch n"], B: Inexact[Array, "*batch n m"], *, discrete: bool, out: Array = None
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $(B B^H)_{ij} / (1 - a_i \bar a_j)$, or $-(B B^H)_{ij} / (a_i + \bar a_j)$, written once, read never.

        `out` is a complex array for the result: fresh memory costs twice what the rest does.
        """
        batch, precision = np.broadcast_shapes(a.shape[:-1], B.shape[:-2]), np.finfo(B.dtype).dtype

        def spread(v: Array, event: tuple[int, ...], dtype: np.dtype) -> Array:
            v = v if v.shape == (*batch, *event) else np.broadcast_to(v, (*batch, *event))
            return np.require(v, dtype=dtype, requirements=["C", "W"])  # read-only, it would be compiled for again

        n, wide = B.shape[-2], np.result_type(precision, np.complex64)
        margin = spread(_one_minus_square(a), (n,), precision) if discrete else np.empty(0, dtype=precision)
        X = gramian(discrete, spread(a, (n,), wide), margin, spread(B, B.shape[-2:], wide), out)
        return X if np.iscomplexobj(a) or np.iscomplexobj(B) else np.ascontiguousarray(X.real)

    def paired_stein(self, Q: Inexact[Array, "*batch 2n 2n"], slots: Inexact[Array, "*batch n"]) -> Array:
        r"""Return the real solution of the Stein equation of a paired system in one pass over memory."""
        Q, slots = np.ascontiguousarray(Q), np.ascontiguousarray(slots)
        out, margin = np.empty_like(Q), _one_minus_square(slots)
        for index in np.ndindex(Q.shape[:-2]):
            _paired_stein_kernel(Q[index], slots[index].real, slots[index].imag, margin[index], out[index])
        return out

    def smith_sums(
        self, A: Inexact[Array, "batch n n"], Q: Inexact[Array, "batch n n"], *, rtol: float, max_steps: int
    ) -> tuple[Array, Array, Array, Array]:
        r"""Return $\sum_k A^k Q (A^k)^H$, the relative residuals, the steps and the outcomes, one system a core."""
        return smith_sums(A, Q, rtol=rtol, max_steps=max_steps)

    def eliminate_modes(
        self, kind: int, paired: bool, x: Array, margin: Array, g: Inexact[Array, "*batch n"]
    ) -> Elimination:
        """Return an elimination of modes with one input, with `advance`, `traces` and `factor`."""
        return Elimination(kind, paired, x, margin, g)

    def eliminate_rows(
        self, kind: int, paired: bool, x: Any, G: Any, margin: Array, noise: Array
    ) -> tuple[Array, Array]:
        """Return columns and pivots of the elimination of modes with several inputs, in twice the precision."""
        return eliminate_rows(kind, paired, x, G, margin, noise)

    def scaled_pair(
        self, t: Complex[Array, "*batch n"], Z: Float[Array, "*batch 2n k"]
    ) -> tuple[Float[Array, "*batch 2n k"], Float[Array, "*batch 2n k"]]:
        r"""Return [Re; Im] of $t z$, and of $2 \bar z / \bar t$ in the place of Z = [Re z; Im z]."""
        return scaled_pair(t, Z)


def _run(kernel: Array, G: Array, a: Array, b: Array, *margins: Array) -> Array:
    """Call a kernel on one flat batch of interleaved real and imaginary parts."""
    n, batch = G.shape[-1], np.broadcast_shapes(G.shape[:-2], a.shape[:-1], b.shape[:-1])
    precision = np.finfo(G.dtype).dtype
    pairs = np.ascontiguousarray(np.broadcast_to(G, (*batch, n, n)), dtype=np.result_type(precision, np.complex64))
    rows = [
        np.ascontiguousarray(np.broadcast_to(v, (*batch, n)).reshape(-1, n)) for x in (a, b) for v in (x.real, x.imag)
    ]
    rows += [np.ascontiguousarray(np.broadcast_to(v, (*batch, n)).reshape(-1, n)) for v in margins]
    out = np.empty((*batch, n, n), dtype=pairs.dtype)
    kernel(pairs.view(precision).reshape(-1, n, 2 * n), *rows, out.view(precision).reshape(-1, n, 2 * n))
    return out if np.iscomplexobj(G) else np.ascontiguousarray(out.real)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _stein_kernel(G, ar, ai, br, bi, a_margin, b_margin, out):
    n = ar.shape[1]
    half = ar.dtype.type(0.5)
    one = ar.dtype.type(1.0)
    for row in numba.prange(ar.shape[0] * n):
        k, i = row // n, row % n
        x, y, margin = ar[k, i], ai[k, i], a_margin[k, i]
        for j in range(n):
            dx, dy = x - br[k, j], y - bi[k, j]
            re = half * (margin + b_margin[k, j] + dx * dx + dy * dy)
            im = y * dx - x * dy
            scale = one / (re * re + im * im)
            gr, gi = G[k, i, 2 * j], G[k, i, 2 * j + 1]
            out[k, i, 2 * j] = (gr * re + gi * im) * scale
            out[k, i, 2 * j + 1] = (gi * re - gr * im) * scale


@numba.njit(cache=True, error_model="numpy", nogil=True)  # serial: what calls it for many layers has its own threads
def _paired_stein_kernel(Q, x, y, margin, out):
    n = x.shape[0]
    half = x.dtype.type(0.5)
    for i in range(n):
        for j in range(n):
            aa, ab, ba, bb = Q[i, j], Q[i, n + j], Q[n + i, j], Q[n + i, n + j]
            dx, minus, plus = x[i] - x[j], y[i] - y[j], y[i] + y[j]
            common = margin[i] + margin[j] + dx * dx
            re, im = half * (common + minus * minus), y[i] * dx - x[i] * minus  # 1 - a conj b
            scale = half / (re * re + im * im)
            p_re, p_im = ((aa + bb) * re + (ba - ab) * im) * scale, ((ba - ab) * re - (aa + bb) * im) * scale
            re, im = half * (common + plus * plus), y[i] * dx - x[i] * plus  # 1 - a b
            scale = half / (re * re + im * im)
            s_re, s_im = ((aa - bb) * re + (ba + ab) * im) * scale, ((ba + ab) * re - (aa - bb) * im) * scale
            out[i, j], out[i, n + j] = p_re + s_re, s_im - p_im
            out[n + i, j], out[n + i, n + j] = s_im + p_im, p_re - s_re


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _lyapunov_kernel(G, ar, ai, br, bi, out):
    n = ar.shape[1]
    one = ar.dtype.type(1.0)
    for row in numba.prange(ar.shape[0] * n):
        k, i = row // n, row % n
        x, y = ar[k, i], ai[k, i]
        for j in range(n):
            re, im = -(x + br[k, j]), bi[k, j] - y
            scale = one / (re * re + im * im)
            gr, gi = G[k, i, 2 * j], G[k, i, 2 * j + 1]
            out[k, i, 2 * j] = (gr * re + gi * im) * scale
            out[k, i, 2 * j + 1] = (gi * re - gr * im) * scale


def _one_minus_square(a: Array) -> Array:
    """Return what the function without underscore does, in one pass."""
    x, y = np.ascontiguousarray(a.real), np.ascontiguousarray(a.imag)
    out = np.empty_like(x)
    _margin_kernel(x.ravel(), y.ravel(), x.dtype.type(4097.0 if x.itemsize == 4 else 134217729.0), out.ravel())
    return out


@numba.njit(cache=True, error_model="numpy")
def _margin_kernel(x, y, splitter, out):
    half, one = x.dtype.type(0.5), x.dtype.type(1.0)
    for i in range(x.shape[0]):
        a, b = abs(x[i]), abs(y[i])
        a, b = max(a, b), min(a, b)
        c = splitter * a
        head = c - (c - a)
        tail = a - head
        high = a * a
        rest = ((head * head - high) + (head * tail + head * tail)) + tail * tail
        c = splitter * b
        head = c - (c - b)
        tail = b - head
        low = b * b
        rest += ((head * head - low) + (head * tail + head * tail)) + tail * tail
        out[i] = ((one - high) - low if high >= half else (half - high) + (half - low)) - rest
