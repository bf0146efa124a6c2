import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope = {"print": lambda values: np.testing.assert_array_less(0, values)}
    exec(code, scope)
    assert scope["P"].shape == (6, 6)
