"""Use ssm-balance where only its wheel and its sibling's were installed: no deep-learning library, and it reduces."""

import importlib.util
import sys

installed = [name for name in ("torch", "numba", "cupy", "slycot") if importlib.util.find_spec(name)]
if installed:
    sys.exit(f"an install of ssm-balance alone brought {installed}")

import numpy as np  # noqa: E402

import ssm_balance as sb  # noqa: E402
from ssm_gramians import StateSpace  # noqa: E402

n = 12
A = np.diag(np.linspace(0.1, 0.9, n))
B = np.linspace(1.0, 2.0, n)[:, None]
reduction = sb.balanced_truncation(StateSpace(A, B, B.T, dt=1.0), order=4)
if reduction.system.order != 4 or not reduction.error_bound < 1e-2 * reduction.hsv[0]:
    sys.exit(
        f"got order {reduction.system.order} with bound {reduction.error_bound}, wanted order 4 with a small bound"
    )
print(f"balanced_truncation: order {n} -> {reduction.order}, error bound {reduction.error_bound:.1e}")
