import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_examples_run():
    scope = {"print": lambda values: np.testing.assert_array_less(0, values)}
    first, second = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

    exec(first, scope)
    assert scope["P"].shape == (6, 6)

    exec(second, scope)
    assert scope["P"].Z.shape[0] == scope["Q"].Z.shape[0] == 2
