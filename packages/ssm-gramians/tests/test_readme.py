import re
from pathlib import Path

import numpy as np

from ssm_gramians import BartelsStewart, ClosedForm, Kronecker, SquaredSmith, get_backend

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope = {"print": lambda values: np.testing.assert_array_less(0, values)}
    exec(code, scope)
    assert scope["P"].shape == (6, 6)


def test_the_support_table_is_what_the_declarations_say():
    names = re.findall(r"`(\w+)`", README.split("| needs |")[1].split("\n")[0])
    assert names == ["scipy", "numba", "torch", "array"]
    for solver in (BartelsStewart, ClosedForm, Kronecker, SquaredSmith):
        (row,) = re.findall(rf"^\| `{solver.__name__}`.*$", README, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")][4:]
        for name, cell in zip(names, cells, strict=True):
            assert cell.startswith("yes") == (solver.needs <= get_backend(name).provides), (solver, name)
