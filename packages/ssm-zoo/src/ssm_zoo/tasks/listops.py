"""ListOps: nested lists of operations on digits, to be worked out; made here by the rules of the Long Range Arena."""

from __future__ import annotations

import os
import random
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from .._errors import DataError
from .._seed import seed_of
from .base import Split, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Node: TypeAlias = "int | tuple[str, list[Node]]"

VOCABULARY = (*map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]")
"""Token k + 1 is the k-th of these; 0 fills up the end."""

DEPTH, ARGUMENTS, DIGITS = 10, 10, 0.75
"""Deepest nesting; most arguments of an operation; the share of nodes above that depth that are digits."""

SHORTEST, LONGEST = 500, 2000
"""Expressions have more tokens than the first, and fewer than the second."""

GENERATED = 2400
"""Expressions that are made where no files are given; every sixth is for the test, and every sixth for validation."""

_OPERATIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(median(values)),
    "[SM": lambda values: sum(values) % 10,
}


def listops(seed: int = 0) -> Task:
    """Return expressions of 501 to 1999 tokens and their values, 0 to 9.

    From ``$SSM_ZOO_DATA/listops/``, if that variable is set: the files ``basic_train.tsv``, ``basic_val.tsv`` and
    ``basic_test.tsv`` of the Long Range Arena's release (96,000, 2,000 and 2,000 expressions), or
    ``listops_sample.npz``, a sample. Without it, `GENERATED` expressions are made, the same every time. A sample is
    split by position: of every six expressions one is for the test and one for validation.

    Parameters
    ----------
    seed
        Accepted for the sake of `load_task`; changes nothing.

    Raises
    ------
    DataError
        If the variable is set and the folder holds neither.

    References
    ----------
    N. Nangia, S. Bowman, ListOps, NAACL 2018. Y. Tay et al., Long Range Arena, ICLR 2021.
    """
    del seed
    local = os.environ.get("SSM_ZOO_DATA")
    if not local:
        return _task(_sixths(list(expressions(GENERATED))))
    folder = Path(local) / "listops"
    names = [f"basic_{name}.tsv" for name in ("train", "val", "test")]
    if all((folder / name).is_file() for name in names):
        return _task([list(_official(folder / name)) for name in names])
    sample = folder / "listops_sample.npz"
    if sample.is_file():
        return _task(_sixths(list(_sample(sample))))
    message = f"{folder} holds neither {', '.join(names)} nor {sample.name}; put them there, or unset SSM_ZOO_DATA"
    raise DataError(message)


def expressions(count: int, seed: int = 0) -> Iterator[tuple[list[str], int]]:
    """Yield so many expressions as tokens, and their values.

    Parameters
    ----------
    count
        How many.
    seed
        Of Python's generator.
    """
    generator = random.Random(seed_of(seed) if seed else 0)
    while count:
        tree = _tree(generator, 1)
        tokens = list(_tokens(tree))
        if SHORTEST < len(tokens) < LONGEST:
            count -= 1
            yield tokens, _value(tree)


def _tree(generator: random.Random, depth: int) -> Node:
    if depth >= DEPTH or generator.random() < DIGITS:
        return generator.randint(0, 9)
    operation = generator.choice(list(_OPERATIONS))
    return operation, [_tree(generator, depth + 1) for _ in range(generator.randint(2, ARGUMENTS))]


def _tokens(node: Node) -> Iterator[str]:
    if isinstance(node, int):
        yield str(node)
        return
    yield node[0]
    for argument in node[1]:
        yield from _tokens(argument)
    yield "]"


def _value(node: Node) -> int:
    return node if isinstance(node, int) else _OPERATIONS[node[0]]([_value(argument) for argument in node[1]])


def _official(file: Path) -> Iterator[tuple[list[str], int]]:
    """Yield the rows of a file of the release: source and target, with brackets that group the arguments."""
    for line in file.read_text(encoding="utf-8").splitlines()[1:]:
        source, target = line.split("\t")
        yield [token for token in source.split() if token not in "()"], int(target)


def _sample(file: Path) -> Iterator[tuple[list[str], int]]:
    with np.load(file, allow_pickle=False) as stored:
        vocabulary, tokens, labels = stored["vocab"], stored["tokens"], stored["label"]
        ends = np.cumsum(stored["length"].astype(np.int64))
    for ids, label in zip(np.split(tokens, ends[:-1]), labels, strict=True):
        yield vocabulary[ids].tolist(), int(label)


def _sixths(rows: list[tuple[list[str], int]]) -> list[list[tuple[list[str], int]]]:
    """Return the rows for training, validation and the test."""
    places = ((0, 1, 2, 3), (4,), (5,))
    return [[row for k, row in enumerate(rows) if k % 6 in place] for place in places]


def _task(parts: Sequence[Sequence[tuple[list[str], int]]]) -> Task:
    number = {token: k + 1 for k, token in enumerate(VOCABULARY)}
    train, validation, test = (_split(rows, number) for rows in parts)
    classes = tuple(map(str, range(10)))
    return Task("listops", classes, train, test, validation, vocab_size=len(VOCABULARY) + 1)


def _split(rows: Sequence[tuple[list[str], int]], number: dict[str, int]) -> Split:
    ids = torch.zeros(len(rows), max(len(tokens) for tokens, _ in rows), dtype=torch.uint8)
    for row, (tokens, _) in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor([number[token] for token in tokens], dtype=torch.uint8)
    return Split(ids, torch.tensor([label for _, label in rows]))
