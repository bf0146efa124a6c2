"""A third-party backend: arrays that know what they were computed with, and a backend that computes on them.

It stands for every array library that this package has never heard of. The arrays are array-api-strict's under another
device name, so that they cannot be mistaken for those of a built-in backend.
"""

import array_api_strict

from ssm_gramians import Backend

DEVICE = array_api_strict.Device("device1")


class TracingBackend(Backend):
    """The generic algorithms on the second device of array-api-strict, and a count of the systems solved."""

    name = "tracing"
    provides = Backend.provides
    solved = 0

    def owns(self, array):
        """Say whether the array lives on the second device."""
        return super().owns(array) and getattr(array, "device", None) == DEVICE

    def solve(self, A, B):
        """Count, and solve as the standard does."""
        type(self).solved += 1
        return super().solve(A, B)


def asarray(array):
    """Return the NumPy array as an array of this library."""
    return array_api_strict.asarray(array, device=DEVICE)
