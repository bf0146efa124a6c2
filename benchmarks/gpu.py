"""Time batched and diagonal solves on a GPU against the CPU; `nox -s gpu` writes benchmarks/results/gpu.json.

Each figure is a median over runs in one process, GPU and CPU in turn, the device waited for. Residuals stand beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from importlib import import_module
from pathlib import Path

import numpy as np

import ssm_gramians as sg

RESULT = Path(__file__).parent / "results" / "gpu.json"


def libraries(*, smoke):
    """Return, for each library that sees a GPU, its name for the card and how arrays get there."""
    if smoke:
        return {"scipy": (platform.processor() or "CPU", np.asarray)}
    found = {}
    torch = import_module("torch")
    if torch.cuda.is_available():
        found["torch"] = (torch.cuda.get_device_name(), lambda array: torch.tensor(array, device="cuda"))
    try:
        cupy = import_module("cupy")
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        found["cupy"] = (name, cupy.asarray)
    except Exception as error:
        print(f"cupy is left out: {error}")
    return found


def cases(systems):
    """Yield names and equations of NumPy arrays."""
    rng = np.random.default_rng(0)
    for kind in ("float64", "float32"):
        for n in (16, 32, 64):
            A = rng.standard_normal((systems, n, n))
            A = (0.95 * A / np.abs(np.linalg.eigvals(A)).max(axis=-1)[:, None, None]).astype(kind)
            yield f"{systems} Stein equations, n={n}, {kind}", sg.Stein(A, np.zeros_like(A) + np.eye(n, dtype=kind))
    modes = (0.99 * np.exp(1j * rng.uniform(0, 3, (systems // 4, 64)))).astype(np.complex128)
    right = np.zeros((systems // 4, 64, 64), complex) + np.eye(64)
    yield f"{systems // 4} diagonal Stein equations, n=64, complex128", sg.Stein(sg.Diagonal(modes), right)
    A = rng.standard_normal((512, 512)) / 512**0.5 - 2 * np.eye(512)
    yield "one Lyapunov equation, n=512, float64", sg.Lyapunov(A, np.eye(512))


def on(equation, asarray):
    """Return the equation with its arrays made by `asarray`."""
    A = equation.A
    A = sg.Diagonal(asarray(A.eigenvalues)) if isinstance(A, sg.Diagonal) else asarray(A)
    return type(equation)(A, asarray(equation.Q))


def seconds(equation):
    """Return the time of one solve, the device waited for."""
    backend = sg.get_backend(equation.Q)
    backend.synchronize()
    start = time.perf_counter()
    solution = sg.solve(equation)
    backend.synchronize()
    return time.perf_counter() - start, solution


def compare(name, equation, asarray, runs):
    """Return medians of GPU and CPU, taken in turn, and the worst residual on the GPU."""
    there = on(equation, asarray)
    seconds(there)
    times = [(seconds(there)[0], seconds(equation)[0]) for _ in range(runs)]
    gpu, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    residual = float(seconds(there)[1].residual.max())
    print(f"{name:58} {1e3 * gpu:9.3f} ms   CPU {1e3 * cpu:9.3f} ms   {cpu / gpu:6.1f}x   residual {residual:.0e}")
    return {"case": name, "gpu_s": gpu, "cpu_s": cpu, "ratio": cpu / gpu, "residual": residual}


def main():
    """Run all cases on all libraries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="run small cases on the CPU and write nothing")
    arguments = parser.parse_args()
    found = libraries(smoke=arguments.smoke)
    if not found:
        parser.error("no GPU that torch or cupy can use; --smoke runs small cases on the CPU")
    report = {"cpu": platform.processor(), "libraries": {}}
    for library, (card, asarray) in found.items():
        print(f"{library} on {card}")
        problems = cases(8 if arguments.smoke else 4096)
        rows = [compare(*problem, asarray, 1 if arguments.smoke else 11) for problem in problems]
        report["libraries"][library] = {"card": card, "version": import_module(library).__version__, "cases": rows}
    if not arguments.smoke:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
