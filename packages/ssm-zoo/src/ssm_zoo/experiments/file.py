"""What an experiment is, read from a TOML file.

Keys: `task`; `seeds`; `note`; a table `train` with changes of the preset of the task; tables `arm`, each with `kind`,
perhaps `name`, lists `balance` and one of `order`, `energy`, `budget` (every combination is an arm), and a table
`train` of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import DataError, OptionError, require
from ..training import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "full": "no cuts",
    "reduced": "cuts while training",
    "late": "the full run, gone on with from where the cuts begin",
    "post": "the full run's model, cut without training",
    "small": "no cuts, and the states of `order` from the start",
    "distilled": "small, with the full run's model for a teacher",
}
"""What an arm can be."""

CUTTING = ("reduced", "late", "post")
SIZES = ("order", "energy", "budget")
_KEYS = {"task", "seeds", "note", "train", "arm"}
_ARM_KEYS = {"kind", "name", "balance", "train", *SIZES}


@dataclass(frozen=True)
class Arm:
    """One way to get a model, over all seeds.

    Parameters
    ----------
    label
        Its name, which no other arm has.
    kind
        A name in `KINDS`.
    config
        Settings of its runs, but for the seed.
    size
        What its size was set by, such as ``"order 28"``; empty for none.
    """

    label: str
    kind: str
    config: TrainConfig
    size: str = ""

    @property
    def family(self) -> str:
        """The label without the size: arms that differ in size only are one curve."""
        return self.label.removesuffix(f"-{self.size.replace(' ', '-')}") if self.size else self.label


@dataclass(frozen=True)
class Experiment:
    """Arms and seeds.

    Parameters
    ----------
    name
        Of the file.
    seeds
        At least one.
    arms
        The full one first.
    note
        What it is about.
    """

    name: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    note: str = ""


def load_experiment(file: str | Path) -> Experiment:
    """Return the experiment that a file describes.

    Raises
    ------
    DataError
        If the file is missing or no TOML.
    OptionError
        If a name is unknown, or settings make no sense; the message names the arm.
    """
    file = Path(file)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        message = f"{file} cannot be read as an experiment: {error}"
        raise DataError(message) from error
    _check_names(values, _KEYS, str(file))
    for name in ("task", "seeds", "arm"):
        require(bool(values.get(name)), f"{file} has no {name}; wanted task, seeds and at least one [[arm]]")
    seeds = tuple(values["seeds"])
    good = len(set(seeds)) == len(seeds) and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    require(good, f"got seeds {list(seeds)} in {file}, wanted different whole numbers of 0 or more")
    base = {"task": values["task"], **values.get("train", {})}
    arms = [arm for described in values["arm"] for arm in _arms(described, base)]
    labels = [arm.label for arm in arms]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    require(not twice, f"{file} has several arms called {', '.join(twice)}; give them a name")
    if any(arm.kind in ("late", "post", "distilled") for arm in arms):
        alone = f"{file} cuts or distils the full run; wanted one [[arm]] of kind 'full'"
        require(sum(arm.kind == "full" for arm in arms) == 1, alone)
    arms.sort(key=lambda arm: arm.kind != "full")
    return Experiment(file.stem, seeds, tuple(arms), values.get("note", ""))


def _arms(described: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[Arm]:
    kind = described.get("kind", "")
    require(kind in KINDS, f"got an arm of kind {kind!r}, wanted one of: {', '.join(KINDS)}")
    name = described.get("name", kind)
    _check_names(described, _ARM_KEYS, f"arm {name!r}")
    sizes = [(key, value) for key in SIZES for value in _listed(described.get(key, []))]
    needs = kind != "full"
    require(len({key for key, _ in sizes}) == needs, f"arm {name!r}: wanted {'one' if needs else 'none'} of order, "
            "energy and budget")  # fmt: skip
    balances = _listed(described.get("balance", "activations")) if kind in CUTTING else [None]
    for balance, (key, value) in product(balances, sizes or [("", None)]):
        label = "-".join(str(part) for part in (name, balance, key, value) if part not in (None, ""))
        changes = {**base, **described.get("train", {}), **({"balance": balance} if balance else {})}
        yield Arm(label, kind, _config(label, kind, changes, key, value), f"{key} {value}" if key else "")


def _config(label: str, kind: str, changes: dict[str, Any], key: str, value: Any) -> TrainConfig:
    known = {field.name for field in fields(TrainConfig)} - {"seed"}
    _check_names(changes, known, f"arm {label!r}")
    if kind in CUTTING:
        changes = {"energy": None, "order": None, "budget": None} | changes | {key: value}
        changes |= {"cuts": 1} if kind == "post" else {}
    else:
        changes["cuts"] = 0
    if kind in ("small", "distilled"):
        require(key == "order", f"arm {label!r}: got {key}, wanted order, the states from the start")
        changes["d_state"] = value
    changes = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
    try:
        config = TrainConfig.preset(changes.pop("task"), **changes)
    except OptionError as error:
        message = f"arm {label!r}: {error}"
        raise OptionError(message) from error
    require(kind != "late" or config.cut_start > 0, f"arm {label!r}: got cut_start=0, wanted where the cuts begin")
    return config


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_names(values: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    require(not unknown, f"{where} has unknown names: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
