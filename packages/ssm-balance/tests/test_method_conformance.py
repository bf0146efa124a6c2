"""Every method of the package runs the public suite."""

from ssm_balance import methods
from ssm_balance.testing import built_in

for suite in built_in():
    globals()[f"Test{suite.__name__}"] = suite

del suite


def test_every_method_of_the_package_is_covered():
    covered = {suite.name.partition("(")[0] for suite in built_in()}

    assert covered == set(methods.__all__)
