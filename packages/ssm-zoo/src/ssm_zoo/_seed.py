"""One seed from several numbers."""

from __future__ import annotations

import numpy as np


def seed_of(*keys: int) -> int:
    """Return a 63-bit seed that depends on every key and on their order.

    Nearby keys give unrelated seeds, so (run, step) can seed each step of each run by itself: a run that is killed and
    resumed draws the same numbers as one that was not.
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))
