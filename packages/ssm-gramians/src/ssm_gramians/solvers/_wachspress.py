"""The best shifts for a real spectrum, and how many of them to use in turn."""

from __future__ import annotations

import numpy as np

from .._arrays import Array

FACTORISATION = 30  # sparse solves that one factorisation costs: 20 to 40 on grids in two dimensions


def wachspress(a: float, b: float, count: int) -> Array:
    """Return the optimal shifts for the interval [-b, -a], ascending in modulus."""
    from scipy.special import ellipj, ellipkm1

    if b <= a * (1 + 1e-12):
        return np.full(1, -np.sqrt(a * b))
    K = ellipkm1((a / b) ** 2)
    u = (2 * np.arange(count, 0, -1) - 1) / (2 * count) * K
    if (a / b) ** 2 > 1e-10:
        return -b * ellipj(u, 1 - (a / b) ** 2)[2]
    # dn is 1 / cosh to rounding up to K/2; beyond, dn(u) dn(K - u) = a/b
    return -np.where(u < K / 2, b / np.cosh(u), a * np.cosh(K - u))


def cheapest_count(a: float, b: float, rtol: float, columns: int) -> int:
    """Return the length of a cycle of Wachspress shifts that reaches rtol with the least work."""
    t = np.geomspace(a, max(b, a), 400)
    costs = []
    for count in range(1, 41):
        p = wachspress(a, b, count)
        damping = np.prod(np.abs((t[:, None] + p) / (t[:, None] - p)), axis=1).max() ** 2
        cycles = np.ceil(np.log(rtol) / np.log(damping)) if damping > 0 else 1
        costs.append(count * (FACTORISATION + cycles * (1 + columns) / 2))  # columns solved together cost about half
    return int(np.argmin(costs)) + 1
