from typing import Literal, TypeAlias

Implementation: TypeAlias = Literal["auto", "reference", "associative", "numba"]
