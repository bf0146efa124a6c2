"""Between objects and a JSON tree that names arrays: what a file without pickle can hold."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj
from scipy import sparse

from ssm_gramians import Diagonal, DiagonalPlusLowRank, Sparse, StateSpace, UnsupportedError

from .._errors import FileFormatError
from .._reduction import Reduction
from ._matrices import on_host

# Nothing else is ever built from a file. A name here and the names of its fields are part of the format.
CLASSES = {cls.__name__: cls for cls in (StateSpace, Diagonal, DiagonalPlusLowRank, Reduction)}
_SPARSE_PARTS = ("data", "indices", "indptr")


def encode(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return the tree of an object, and add its arrays under names that begin with `name`.

    Raises
    ------
    UnsupportedError
        If a part of it is made of functions, or unknown.
    """
    if isinstance(value, Sparse):
        parts = {part: encode(getattr(value.matrix, part), f"{name}.{part}", arrays) for part in _SPARSE_PARTS}
        return {"type": "Sparse", "shape": list(value.shape), **parts}
    if is_dataclass(value) and type(value).__name__ in CLASSES:
        held = {f.name: encode(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
        return {"type": type(value).__name__, **held}
    if value is None or isinstance(value, bool | int | float | str):
        return float(value) if isinstance(value, float) else value  # np.float64 is a float too
    if is_array_api_obj(value):
        arrays[name] = on_host(value)
        return {"array": name}
    msg = f"{name} is a {type(value).__name__}, which a file of arrays cannot hold; want arrays, Diagonal or Sparse"
    raise UnsupportedError(msg)


def decode(tree: Any, arrays: Any) -> Any:
    """Return the object of a tree.

    Raises
    ------
    FileFormatError
        If the tree names a type, a field or an array that does not exist.
    """
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    parts = {name: decode(part, arrays) for name, part in tree.items() if name != "type"}
    if tree.get("type") == "Sparse":
        shape = tuple(parts.pop("shape"))
        return Sparse(sparse.csc_array(tuple(parts[part] for part in _SPARSE_PARTS), shape=shape))
    try:
        return CLASSES[tree["type"]](**parts)
    except (KeyError, TypeError) as error:
        msg = f"the file holds a {tree.get('type')} that is not known here ({error}); want one that `save` wrote"
        raise FileFormatError(msg) from error
