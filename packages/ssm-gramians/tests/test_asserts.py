import numpy as np
import pytest
import torch

from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind, assert_untouched


def test_assert_close_fails_on_a_wrong_digit():
    assert_close(np.array([1.0, 1 + 1e-9]), np.array([1.0, 1.0]), rtol=1e-8)
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(np.array([1.0, 1 + 1e-7]), np.array([1.0, 1.0]), rtol=1e-8)


def test_assert_close_fails_on_one_bad_matrix_of_a_batch():
    good = np.ones((2, 2, 2))
    bad = good.copy()
    bad[1] *= 1.1
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(bad, good, rtol=1e-2)


def test_assert_close_fails_on_nan_and_on_shape():
    with pytest.raises(AssertionError):
        assert_close(np.array([np.nan]), np.array([1.0]), rtol=1.0)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.ones((2, 1)), np.ones(2), rtol=1.0)


@pytest.mark.parametrize("other", [np.ones(2, np.float32), torch.ones(2, dtype=torch.float64)])
def test_assert_same_kind_fails_on_another_kind(other):
    assert_same_kind(np.zeros(3), np.ones(2))
    with pytest.raises(AssertionError, match="got"):
        assert_same_kind(other, np.ones(2))


def test_assert_untouched_fails_on_an_edit():
    array = np.ones(3)
    with pytest.raises(AssertionError, match="modified"), assert_untouched(np.zeros(1), array):
        array[1] = 2.0


def test_as_numpy_is_a_copy():
    tensor = torch.ones(2, dtype=torch.complex128, requires_grad=True).conj()
    copy = as_numpy(tensor)
    copy[:] = 0
    assert tensor.detach().real.sum() == 2
