"""Assertions on arrays of any library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import array_api_compat
import numpy as np

from .._arrays import Array


def as_numpy(array: Array) -> Any:
    """Return a NumPy copy of an array of any library, detached from gradients."""
    if array_api_compat.is_torch_array(array):
        array = array.detach().cpu().resolve_conj().resolve_neg().numpy()
    if array_api_compat.is_cupy_array(array):
        return array.get()
    try:
        return np.array(array)
    except (RuntimeError, TypeError):  # an array on a device, of a library that converts nothing behind one's back
        return np.array(np.from_dlpack(array))


def assert_close(actual: Array, desired: Array, *, rtol: float) -> None:
    """Fail unless shapes agree and each matrix differs by at most rtol in the Frobenius norm, relative to `desired`."""
    got, wanted = as_numpy(actual), as_numpy(desired)
    assert got.shape == wanted.shape, f"got shape {got.shape}, want {wanted.shape}"
    if got.size == 0:
        return
    got, wanted = np.atleast_2d(got), np.atleast_2d(wanted)
    error, size = np.linalg.norm(got - wanted, axis=(-2, -1)), np.linalg.norm(wanted, axis=(-2, -1))
    assert np.all(error <= rtol * size), (
        f"relative error {np.max(error / np.where(size > 0, size, 1)):.2e} > {rtol:.2e}"
    )


def assert_same_kind(actual: Array, like: Array) -> None:
    """Fail unless library, dtype and device agree."""
    assert type(actual) is type(like), f"got {type(actual)}, want {type(like)}"
    assert actual.dtype == like.dtype, f"got dtype {actual.dtype}, want {like.dtype}"
    got, wanted = array_api_compat.device(actual), array_api_compat.device(like)
    assert got == wanted, f"got device {got}, want {wanted}"


@contextmanager
def assert_untouched(*arrays: Array) -> Iterator[None]:
    """Fail if the block changes an entry of one of the arrays."""
    before = [as_numpy(array) for array in arrays]
    yield
    for position, (old, array) in enumerate(zip(before, arrays, strict=True)):
        assert np.array_equal(old, as_numpy(array), equal_nan=True), f"array {position} was modified"
