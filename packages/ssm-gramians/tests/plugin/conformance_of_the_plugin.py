"""What a plugin author writes to have the backend tested: the conformance suites in a few lines each."""

import tracing_backend

from ssm_gramians import Auto
from ssm_gramians.testing import BackendConformance, SolverConformance


class TestTracing(BackendConformance):
    backend = "tracing"
    asarray = staticmethod(tracing_backend.asarray)


class TestAuto(SolverConformance):
    backend, solver, iterative = "tracing", Auto(), True
    asarray = staticmethod(tracing_backend.asarray)
