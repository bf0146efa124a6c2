"""The array kinds that every test can ask for."""

import array_api_strict
import numpy as np
import pytest
import torch


def read_only(array):
    """Return a NumPy array that catches every edit in place."""
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.fixture(params=["numpy", "torch", "strict"])
def asarray(request):
    """Return the maker of arrays of one library."""
    return {"numpy": read_only, "torch": torch.tensor, "strict": array_api_strict.asarray}[request.param]


@pytest.fixture
def rng():
    """Return a seeded generator."""
    return np.random.default_rng(11)
