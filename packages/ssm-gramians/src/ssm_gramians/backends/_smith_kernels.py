"""The squared Smith sum as a compiled loop over the systems of a batch, each on one core and out of its cache."""

from __future__ import annotations

from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from ._vector_tiles import BYTES, ROWS, make_tile

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._arrays import Array

CONVERGED, EXHAUSTED, DIVERGED = 0, 1, 2
_TASKS = 4  # a thread: one that has done its own takes another's
_WORTH_A_THREAD = 1 << 18  # products n^3 in a batch: some hundred microseconds of work


def smith_sums(A: Array, Q: Array, *, rtol: float, max_steps: int) -> tuple[Array, Array, Array, Array]:
    r"""Return $X = \sum_k A^k Q (A^k)^H$, the relative residuals, the steps and the outcomes of a flat batch.

    Each doubling is $T = X N,\; X \leftarrow X + N^H T,\; N \leftarrow N^2$ with $N = (A^{2^k})^H$, so that nothing is
    ever transposed; of a Hermitian X only the upper half is computed. A system is done when $\lVert N\rVert^4$ is below
    rtol: what the series still holds is less than that part of X.
    """
    n, batch, precision = A.shape[-1], A.shape[0], np.finfo(A.dtype).dtype
    X, residual = np.empty(Q.shape, dtype=A.dtype), np.empty(batch, dtype=precision)
    steps, outcome = np.empty(batch, dtype=np.int64), np.empty(batch, dtype=np.int64)
    kernel, parts = (_complex_kernel, 2) if np.iscomplexobj(A) else (_real_kernel, 1)
    limits = np.array([rtol, 1 / np.finfo(precision).eps], dtype=np.float64)
    # a read-only array is another type to Numba, and would be compiled for again
    matrices = [np.require(M, requirements=["C", "W"]) for M in (A, Q)]
    planes = [M.view(precision).reshape(batch, n, parts * n) for M in (*matrices, X)]
    threads = numba.get_num_threads() if batch * n**3 > _WORTH_A_THREAD else 1
    size = max(1, batch if threads == 1 else -(-batch // (_TASKS * threads)))

    def run(task: int) -> None:
        part = slice(task * size, (task + 1) * size)
        kernel(*(M[part] for M in planes), limits, max_steps, residual[part], steps[part], outcome[part])

    share(run, -(-batch // size), threads=threads)
    return X, residual, steps, outcome


def share(run: Callable[[int], None], tasks: int, *, threads: int) -> None:
    """Call `run` with each task, on several threads; each takes the next task when it is done with one."""
    turns = count()

    def work() -> None:
        while (task := next(turns)) < tasks:
            run(task)

    helpers = [Thread(target=work) for _ in range(min(threads, tasks) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()


# Without wrappers for Python, which nobody calls, they compile in half the time.
_INNER = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner: Any = numba.njit(**_INNER)  # type: ignore[call-overload]  # the stubs lack the options
reduction: Any = numba.njit(**_INNER, fastmath={"reassoc", "contract"})  # type: ignore[call-overload]


def _make_kernel(*, is_complex: bool) -> Any:
    parts = 2 if is_complex else 1
    narrow, wide = (make_tile(size, is_complex=is_complex) for size in (BYTES, 2 * BYTES // parts))
    pair = 2 // parts

    @inner
    def multiply_rows(A, a, a_row, a_col, sign, B, C, i, first, width, start, stop, plane):
        """Add to four rows of C, from column `first` on."""
        lanes, j = BYTES // C.itemsize, first
        while j + pair * lanes <= width:
            wide(A, a, a_row, a_col, sign, B, j, C, i * width + j, width, start, stop, plane)
            j += pair * lanes
        if j < width:
            narrow(A, a, a_row, a_col, sign, B, j, C, i * width + j, width, start, stop, plane)

    @inner
    def add_congruence(X, N, T, Y, height, width, hermitian):
        """Y += N^H X N, with T for the product X N."""
        plane, one, lanes = height * width, X.dtype.type(1), BYTES // X.itemsize
        T[:] = 0
        for i in range(0, height, ROWS):
            below = i if hermitian else 0  # X[i, k] = conj(X[k, i]) for k below the row: only the upper half is there
            if below > 0:
                multiply_rows(X, i, 1, width, -one, N, T, i, 0, width, 0, below, plane)
            multiply_rows(X, i * width, width, 1, one, N, T, i, 0, width, below, height, plane)
        for i in range(0, height, ROWS):
            first = i // lanes * lanes if hermitian else 0
            multiply_rows(N, i, 1, width, -one, T, Y, i, first, width, 0, height, plane)

    @inner
    def square(N, W, height, width):
        plane, one = height * width, N.dtype.type(1)
        W[:] = 0
        for i in range(0, height, ROWS):
            multiply_rows(N, i * width, width, 1, one, N, W, i, 0, width, 0, height, plane)

    @inner
    def pack(M, N, n, width, plane, transposed):
        """Copy M, or its adjoint, into padded planes."""
        for i in range(n):
            for j in range(n):
                place = j * width + i if transposed else i * width + j
                for part in range(parts):
                    entry = M[i, parts * j + part]
                    N[part * plane + place] = -entry if transposed and part == 1 else entry

    @reduction
    def square_norm(N):
        total = 0.0
        for k in range(N.shape[0]):
            total += N[k] * N[k]
        return total

    @inner
    def is_hermitian(Q, n):
        for i in range(n):
            for j in range(i, n):
                if Q[i, parts * j] != Q[j, parts * i]:
                    return False
                if parts == 2 and Q[i, parts * j + 1] != -Q[j, parts * i + 1]:
                    return False
        return True

    @inner
    def complete(X, height, width, n, plane):
        """Mirror the upper half."""
        for i in range(n):
            for j in range(i + 1, n):
                X[j * width + i] = X[i * width + j]
                if parts == 2:
                    X[plane + j * width + i] = -X[plane + i * width + j]
            if parts == 2:
                X[plane + i * width + i] = 0

    @inner
    def add_up(X, N, W, T, height, width, hermitian, limits, max_steps):
        for step in range(max_steps):
            size = square_norm(N)
            if not size < limits[1] * limits[1]:
                return step, DIVERGED
            add_congruence(X, N, T, X, height, width, hermitian)
            if size * size <= limits[0]:
                return step + 1, CONVERGED
            square(N, W, height, width)
            N, W = W, N
        return max_steps, EXHAUSTED

    @inner
    def rest(A, Q, X, N, W, T, n, height, width, hermitian):
        plane = height * width
        pack(A, N, n, width, plane, True)
        W[:] = 0
        add_congruence(X, N, T, W, height, width, hermitian)
        if hermitian:
            complete(W, height, width, n, plane)
            complete(X, height, width, n, plane)
        sizes = np.sqrt(square_norm(W)) + np.sqrt(square_norm(X))
        pack(Q, T, n, width, plane, False)
        sizes += np.sqrt(square_norm(T))
        W += T
        W -= X
        return np.sqrt(square_norm(W)) / sizes if sizes > 0 else 0.0

    @numba.njit(nogil=True, cache=True, error_model="numpy")
    def kernel(A, Q, out, limits, max_steps, residual, steps, outcome):
        n, lanes = A.shape[1], BYTES // out.itemsize
        height, width = (n + ROWS - 1) // ROWS * ROWS, (n + lanes - 1) // lanes * lanes
        plane = height * width
        scratch = np.zeros((4, parts * plane), dtype=A.dtype)  # the padding stays zero: products of zeros
        N, W, X, T = scratch[0], scratch[1], scratch[2], scratch[3]
        for s in range(A.shape[0]):
            pack(A[s], N, n, width, plane, True)
            pack(Q[s], X, n, width, plane, False)
            hermitian = is_hermitian(Q[s], n)
            steps[s], outcome[s] = add_up(X, N, W, T, height, width, hermitian, limits, max_steps)
            residual[s] = rest(A[s], Q[s], X, N, W, T, n, height, width, hermitian)
            for i in range(n):
                for j in range(n):
                    for part in range(parts):
                        out[s, i, parts * j + part] = X[part * plane + i * width + j]

    return kernel


_real_kernel, _complex_kernel = _make_kernel(is_complex=False), _make_kernel(is_complex=True)
