"""Work on several layers at once, a core to each: small factorisations gain more from that than from threads inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from ..scan import scan_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return `function` of each item, on as many threads as scans may use, BLAS and Torch having one each meanwhile.

    Parameters
    ----------
    function
        May raise: the first error comes out when all have ended.
    items
        What it is called with.
    """
    torch_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(scan_threads())  # sized before Torch's number, from which it may come, is changed
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"), pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(torch_threads)
