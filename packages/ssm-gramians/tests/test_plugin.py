"""A third-party backend, installed as a distribution with an entry point, is a backend like any other.

The distribution is the folder `plugin`, as pip would lay it out in site-packages: a package and its dist-info. Each
test runs in an interpreter of its own that has the folder on its path, so nothing of it stays behind.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"


def run(*command, plugin=True):
    paths = [str(PLUGIN)] if plugin else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, cwd=PLUGIN.parent
    )


def program(code, *, plugin=True):
    result = run("-W", "error", "-c", code, plugin=plugin)
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")


def test_it_is_available_by_its_name():
    names = (
        "import ssm_gramians as sg; print(*sg.available_backends()); print(type(sg.get_backend('tracing')).__name__)"
    )

    with_plugin = program(names)
    without = program("import ssm_gramians as sg; print(*sg.available_backends())", plugin=False)

    assert set(with_plugin[0].split()) - set(without[0].split()) == {"tracing"}
    assert with_plugin[1] == "TracingBackend"


def test_nothing_of_it_is_imported_before_it_is_needed():
    code = "import sys, numpy as np, ssm_gramians as sg; sg.solve(sg.Stein(np.eye(2) / 2, np.eye(2)))"

    assert program(f"{code}; print('tracing_backend' in sys.modules)")[0] == "False"


def test_its_arrays_find_it_and_are_solved_by_it():
    code = """
import numpy as np, ssm_gramians as sg, tracing_backend
A, Q = (tracing_backend.asarray(M) for M in (np.diag([0.5, -0.2]), np.eye(2)))
X = sg.solve(sg.Lyapunov(A - 1.5 * Q, Q), sg.Kronecker()).value
print(sg.get_backend(A).name, X.device == A.device, tracing_backend.TracingBackend.solved)
"""

    assert program(code)[0] == "tracing True 1"


def test_other_arrays_do_not_find_it():
    code = """
import array_api_strict, numpy as np, ssm_gramians as sg
print(sg.get_backend(np.eye(2)).name, sg.get_backend(array_api_strict.eye(2)).name)
"""

    assert program(code)[0] == "scipy array"


def test_arrays_of_others_are_refused_by_name():
    code = """
import numpy as np, ssm_gramians as sg
try:
    sg.solve(sg.Stein(np.eye(2) / 2, np.eye(2)), backend="tracing")
except sg.UnsupportedError as error:
    print(error)
"""

    assert "'tracing' does not compute on" in program(code)[0]


def test_the_support_table_has_a_column_for_it():
    table = program("from ssm_gramians.testing import support_table; print(support_table())")

    assert "`tracing`" in table[0]
    assert any(line.startswith("| `tracing` | `array` |") for line in table)


def test_it_passes_the_conformance_suites():
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "plugin/conformance_of_the_plugin.py")

    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


def test_a_broken_plugin_costs_only_itself(tmp_path, monkeypatch):
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[ssm_gramians.backends]\nbroken = no_such:Backend\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    code = """
import ssm_gramians as sg
print(*sg.available_backends())
try:
    sg.get_backend("broken")
except sg.BackendNotAvailableError as error:
    print(error)
"""

    names, message, _ = program(code)

    assert {"scipy", "tracing"} <= set(names.split())
    assert "broken" not in names.split()
    assert "pip install broken" in message


@pytest.mark.parametrize("name", ["METADATA", "RECORD", "entry_points.txt"])
def test_the_distribution_is_complete(name):
    assert (PLUGIN / "tracing_backend-1.0.dist-info" / name).is_file()
