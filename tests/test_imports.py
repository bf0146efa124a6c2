"""Import contracts: what each package loads, and the direction in which packages import one another."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src"))
ARRAY_LIBRARIES = {"torch", "numba", "cupy", "slycot"}
# What importing the package may load of what is not its own business.
MAY_LOAD = {"ssm_gramians": set(), "ssm_balance": set(), "ssm_gramians.testing": set(), "ssm_balance.testing": set()}


def loaded_by(statement):
    """Return the top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True).split())


@pytest.mark.parametrize("package", MAY_LOAD)
def test_importing_a_package_loads_no_optional_library(package):
    loaded = loaded_by(f"import {package}")

    assert package.partition(".")[0] in loaded
    assert loaded & ARRAY_LIBRARIES <= MAY_LOAD[package]


def test_a_numpy_problem_loads_no_other_array_library():
    solve = "import numpy as np, ssm_gramians as sg\nsg.solve_discrete_lyapunov(np.eye(3) / 2, np.eye(3), solver=None)"

    assert not loaded_by(solve) & {"torch", "cupy"}


def test_importing_ssm_zoo_needs_no_compiler():
    assert "numba" not in loaded_by("import ssm_zoo")


def test_this_check_sees_a_loaded_library():
    assert "numba" in loaded_by("import numba")


def lint_imports(folder, sources):
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    return subprocess.run([command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True)


def test_packages_import_downwards_only():
    result = lint_imports(ROOT, SOURCES)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [("ssm_gramians/upwards.py", "import ssm_balance"), ("ssm_gramians/solvers/heavy.py", "import torch")],
)
def test_the_contracts_notice_a_forbidden_import(module, forbidden, tmp_path):
    copies = [shutil.copytree(source, tmp_path / source.parent.name) for source in SOURCES]
    (tmp_path / "ssm-gramians" / module).write_text(forbidden + "\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    result = lint_imports(tmp_path, copies)

    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout
