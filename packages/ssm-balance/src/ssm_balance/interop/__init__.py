"""Systems to and from other libraries and files; each library is imported when it is called for."""

from .control import from_control, to_control
from .npz import load, save
from .pymor import from_pymor, to_pymor
from .scipy_signal import from_scipy, to_scipy
from .slicot import SlicotExample, load_slicot, save_slicot
from .tuples import from_tuple, to_tuple

__all__ = [
    "SlicotExample",
    "from_control",
    "from_pymor",
    "from_scipy",
    "from_tuple",
    "load",
    "load_slicot",
    "save",
    "save_slicot",
    "to_control",
    "to_pymor",
    "to_scipy",
    "to_tuple",
]
