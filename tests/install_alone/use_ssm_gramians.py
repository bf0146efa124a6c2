"""Use ssm-gramians where only its own wheel was installed: nothing extra is there, it starts fast, and it solves."""

import importlib.util
import subprocess
import sys

EXTRAS = ("torch", "numba", "cupy", "slycot")
TARGET, LIMIT = 0.5, 1.5  # seconds: what is promised, and what a busy machine is forgiven

installed = [name for name in EXTRAS if importlib.util.find_spec(name)]
if installed:
    sys.exit(f"an install of ssm-gramians alone brought {installed}")

import_time = "import time; start = time.perf_counter(); import ssm_gramians; print(time.perf_counter() - start)"
best = min(float(subprocess.check_output([sys.executable, "-c", import_time])) for _ in range(5))
print(f"import ssm_gramians: {best:.3f} s, the best of 5 (promised: {TARGET} s)")
if best > LIMIT:
    sys.exit(f"import ssm_gramians took {best:.3f} s, more than {LIMIT} s")

import numpy as np  # noqa: E402

import ssm_gramians as sg  # noqa: E402

generator = np.random.default_rng(0)
a = generator.standard_normal((3, 6, 6)) / 10
q = np.broadcast_to(np.eye(6), a.shape)
x = sg.solve_discrete_lyapunov(a, q)
residual = float(np.abs(a @ x @ np.swapaxes(a, -1, -2) - x + q).max())
if not residual < 1e-12:
    sys.exit(f"solve_discrete_lyapunov left a residual of {residual}")
print(f"solve_discrete_lyapunov: residual {residual:.1e} over a batch of 3; backends here: {sg.available_backends()}")

loaded = [name for name in EXTRAS if name in sys.modules]
if loaded:
    sys.exit(f"using ssm-gramians loaded {loaded}")
