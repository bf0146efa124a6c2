"""What an array is here: any library that follows the array API standard, real or complex floating point."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from ._errors import DtypeError, NonFiniteError

_NUMPY = array_api_compat.array_namespace(np.empty(0))
Array: TypeAlias = Any  # structural: NumPy, Torch, CuPy and whoever follows the standard share no base class


def namespace(*arrays: Array) -> Any:
    """Return the array API namespace that all the arrays share.

    Raises
    ------
    DtypeError
        If something is not an array, or the arrays come from different libraries.
    """
    if all(type(array) is np.ndarray for array in arrays) and arrays:
        return _NUMPY  # asked for a dozen times in a small solve, and a tenth of its time if looked up
    try:
        return array_api_compat.array_namespace(*arrays)
    except TypeError as error:
        kinds = ", ".join(sorted({f"{type(array).__module__}.{type(array).__qualname__}" for array in arrays}))
        msg = f"got {kinds}; want arrays of one library (NumPy, Torch, ...): convert them first"
        raise DtypeError(msg) from error


def check_floating(**arrays: Array) -> Any:
    """Return the shared namespace of floating-point arrays of one precision and one device.

    Raises
    ------
    DtypeError
        If the libraries, precisions or devices differ, or an array is not floating point.
    """
    xp = namespace(*arrays.values())
    bits = {name: _bits(xp, array.dtype) for name, array in arrays.items()}
    devices = {name: str(array_api_compat.device(array)) for name, array in arrays.items()}
    for name, array in arrays.items():
        if bits[name] == 0:
            msg = f"{name} has dtype {array.dtype}; want real or complex floating point: convert it first"
            raise DtypeError(msg)
        if bits[name] < 32:
            msg = f"{name} has dtype {array.dtype}, too short for a matrix equation; want 32 or 64 bits: cast it first"
            raise DtypeError(msg)
        if devices[name] == "meta":
            msg = f"{name} is on Torch's device 'meta' and has no entries; want a tensor with entries"
            raise DtypeError(msg)
    if len(set(bits.values())) > 1:
        got = ", ".join(f"{name}: {array.dtype}" for name, array in arrays.items())
        msg = f"got {got}; want one precision: cast the arrays to the same one first"
        raise DtypeError(msg)
    if len(set(devices.values())) > 1:
        got = ", ".join(f"{name}: {device}" for name, device in devices.items())
        msg = f"got {got}; want one device: move the arrays first"
        raise DtypeError(msg)
    return xp


@cache
def _bits(xp: Any, dtype: Any) -> int:
    """Return the length of a real number of this dtype, 0 if it is not floating point."""
    return int(xp.finfo(dtype).bits) if xp.isdtype(dtype, ("real floating", "complex floating")) else 0


def check_finite(**arrays: Array) -> None:
    """Raise NonFiniteError if an array holds NaN or infinity."""
    xp = namespace(*arrays.values())
    for name, array in arrays.items():
        if not bool(xp.all(xp.isfinite(array))):
            msg = f"{name} has entries that are NaN or infinite; want finite entries"
            raise NonFiniteError(msg)


def is_complex(array: Array) -> bool:
    """Say whether the dtype is complex."""
    if isinstance(array.dtype, np.dtype):
        return array.dtype.kind == "c"
    return bool(namespace(array).isdtype(array.dtype, "complex floating"))


def conj(array: Array) -> Array:
    """Return the complex conjugate; a real array as it is (the standard defines it for complex ones only)."""
    return namespace(array).conj(array) if is_complex(array) else array


def real(array: Array) -> Array:
    """Return the real part; a real array as it is."""
    return namespace(array).real(array) if is_complex(array) else array


def imag(array: Array) -> Array:
    """Return the imaginary part; zeros for a real array."""
    xp = namespace(array)
    return xp.imag(array) if is_complex(array) else xp.zeros_like(array)


def adjoint(array: Array) -> Array:
    """Return the conjugate transpose of the last two axes."""
    return conj(array.mT)


def is_hermitian(A: Array) -> bool:
    """Say whether a matrix is its own adjoint; for most that are not, the first row tells."""
    xp = namespace(A)
    return bool(xp.all(A[:1, :] == conj(A[:, :1].mT))) and bool(xp.all(adjoint(A) == A))


def identity(n: int, *, like: Array) -> Array:
    """Return the n x n identity with the dtype and device of `like`."""
    return namespace(like).eye(n, dtype=like.dtype, device=array_api_compat.device(like))


def common_dtype(*arrays: Array) -> Any:
    """Return the dtype that arithmetic between the arrays gives: complex as soon as one of them is."""
    return namespace(*arrays).result_type(*(array.dtype for array in arrays))


def promote(*arrays: Array) -> tuple[Array, ...]:
    """Cast every array to the common dtype, since Torch multiplies no real matrix by a complex one."""
    xp = namespace(*arrays)
    if all(array.dtype == arrays[0].dtype for array in arrays):
        return arrays
    dtype = common_dtype(*arrays)
    return tuple(xp.astype(array, dtype, copy=False) for array in arrays)


def real_dtype(array: Array) -> Any:
    """Return the real dtype of the same precision."""
    return real(namespace(array).zeros((), dtype=array.dtype)).dtype


def complex_dtype(array: Array) -> Any:
    """Return the complex dtype of the same precision."""
    xp = namespace(array)
    return xp.complex64 if xp.finfo(array.dtype).bits == 32 else xp.complex128


def as_complex(array: Array) -> Array:
    """Cast to the complex dtype of the same precision."""
    return namespace(array).astype(array, complex_dtype(array), copy=False)


def join(real_part: Array, imag_part: Array) -> Array:
    """Return the complex array of two real ones."""
    if not array_api_compat.is_numpy_array(real_part):
        return as_complex(real_part) + 1j * imag_part
    joined = np.empty(real_part.shape, dtype=complex_dtype(real_part))  # the sum would pass over memory three times
    joined.real, joined.imag = real_part, imag_part
    return joined


def as_double(array: Array) -> Array:
    """Cast to float64, or complex128 if the array is complex."""
    xp = namespace(array)
    return xp.astype(array, xp.complex128 if is_complex(array) else xp.float64, copy=False)
