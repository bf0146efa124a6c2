"""Every backend and every solver of the registry runs the public suites."""

import itertools

import array_api_strict
import numpy as np
import pytest
import torch

from ssm_gramians import (
    Auto,
    BartelsStewart,
    Cauchy,
    ClosedForm,
    ExtendedKrylov,
    Hammarling,
    Kronecker,
    LowRankADI,
    RationalKrylov,
    Refined,
    SignIteration,
    SquaredSmith,
    Woodbury,
    available_backends,
    get_backend,
)
from ssm_gramians.testing import BackendConformance, SolverConformance


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


MAKERS = {
    "array": array_api_strict.asarray,
    "numba": read_only,
    "scipy": read_only,
    "slycot": read_only,
    "torch": torch.tensor,
}
SOLVERS = (
    Auto(),
    BartelsStewart(),
    BartelsStewart(leaf=2),
    Cauchy(),
    ClosedForm(),
    ExtendedKrylov(rtol=1e-14),
    Hammarling(),
    Hammarling(leaf=2, native=False),
    Kronecker(),
    LowRankADI(rtol=1e-14),
    RationalKrylov(rtol=1e-14),
    Refined(),
    SignIteration(),
    SquaredSmith(),
    Woodbury(),
)

NAMES = tuple(name for name in available_backends() if name != "cupy")  # which test_gpu.py runs, where there is a GPU

for name in NAMES:

    class _Backend(BackendConformance):
        backend = name

        def asarray(self, array):
            return MAKERS[self.backend](array)

    globals()[f"TestBackend_{name}"] = _Backend

for solver, name in itertools.product(SOLVERS, NAMES):
    if not solver.needs <= get_backend(name).provides:
        continue

    class _Solver(SolverConformance):
        backend = name
        iterative = isinstance(
            solver,
            Cauchy | ExtendedKrylov | Hammarling | LowRankADI | RationalKrylov | Refined | SignIteration | SquaredSmith,
        ) or (isinstance(solver, Auto) and name == "array")

        def asarray(self, array):
            return MAKERS[self.backend](array)

    _Solver.solver = solver
    suffix = "_small_leaf" if getattr(solver, "leaf", None) == 2 else ""
    globals()[f"TestSolver_{type(solver).__name__}{suffix}_{name}"] = _Solver

del _Backend, _Solver  # only the named subclasses are collected


def test_every_backend_of_the_registry_is_covered():
    assert set(NAMES) <= set(MAKERS)
    assert set(MAKERS) - set(NAMES) <= {"slycot"}, "only SLICOT may be missing: there are no wheels for every machine"


@pytest.mark.parametrize("name", NAMES)
def test_auto_always_has_a_candidate(name):
    assert Auto().needs <= get_backend(name).provides
