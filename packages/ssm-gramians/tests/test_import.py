import subprocess
import sys


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_loads_nothing_heavy():
    loaded = run("import sys, ssm_gramians; print(*sorted(sys.modules))").split()
    assert not {"torch", "numba", "cupy", "slycot", "scipy", "pytest", "jaxtyping", "ssm_gramians.testing"} & set(
        loaded
    )


def test_numpy_arrays_load_no_torch_and_no_numba():
    code = """
import sys, numpy as np, ssm_gramians as g
g.controllability_gramian(g.StateSpace(np.eye(2) / 2, np.ones((2, 1)), np.ones((1, 2)), dt=1.0))
print(*sorted(sys.modules))
"""
    assert not {"torch", "numba", "cupy"} & set(run(code).split())


def test_every_public_name_exists_and_is_listed():
    import ssm_gramians

    assert sorted(ssm_gramians.__all__) == list(ssm_gramians.__all__)
    public = {name for name, value in vars(ssm_gramians).items() if not name.startswith("_") and not _is_module(value)}
    assert public == set(ssm_gramians.__all__)


def _is_module(value):
    return type(value).__name__ == "module"
