"""CuPy arrays, on the device where they live."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import array_api_compat
import cupy

from .._arrays import Array
from . import _cupy_kernels
from ._base import Backend

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact


class CupyBackend(Backend):
    """The generic algorithms on CuPy arrays, with kernels of its own for diagonal systems and small batches.

    Work is queued on the current stream; the host waits only where a status is decided by the numbers. The first call
    for a dtype compiles, for about a second; CuPy caches the result on disk. General eigenvalues came with CuPy 14.
    """

    name: ClassVar[str] = "cupy"
    provides: ClassVar[frozenset[str]] = frozenset({"array", "diagonal_kernel", "smith_kernel"}) | (
        frozenset({"eigenvalues"}) if hasattr(cupy.linalg, "eigvals") else frozenset()
    )

    def owns(self, array: Array) -> bool:
        """Say whether this is a CuPy array."""
        return bool(array_api_compat.is_cupy_array(array))

    def stein_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $G_{ij} / (1 - a_i \bar b_j)$ to full relative accuracy, as `one_minus_product` does."""
        return _cupy_kernels.quotient("stein_quotient", G, a, b)

    def lyapunov_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $-G_{ij} / (a_i + \bar b_j)$."""
        return _cupy_kernels.quotient("lyapunov_quotient", G, a, b)

    def paired_stein(
        self, Q: Float[Array, "*batch 2n 2n"], slots: Complex[Array, "*batch n"]
    ) -> Float[Array, "*batch 2n 2n"]:
        """Return the real solution of the Stein equation of a paired system in one pass over memory."""
        return _cupy_kernels.paired_stein(Q, slots)

    def smith_sums(
        self, A: Inexact[Array, "b n n"], Q: Inexact[Array, "b n n"], *, rtol: float, max_steps: int
    ) -> tuple[Array, Array, Array, Array]:
        r"""Return $\sum_k A^k Q (A^k)^H$, relative residuals, steps and outcomes, each system in a block of its own."""
        return _cupy_kernels.smith_sums(A, Q, rtol=rtol, max_steps=max_steps)

    if hasattr(cupy.linalg, "eigvals"):

        def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
            """Return the eigenvalues of a general matrix."""
            return cupy.linalg.eigvals(A)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        cupy.cuda.get_current_stream().synchronize()
