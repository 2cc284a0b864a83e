"""Where an array's numbers lie in memory, for kernels that are given addresses."""

from ctypes import c_void_p
from typing import Any

import numpy as np

Array = Any


def plain(array: Array) -> Array:
    """The same numbers as a kernel reads them where they lie: in order, aligned and native."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _asked(array: Array) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def _read(array: Array) -> int:
    # the first field of NumPy's public array structure, six times as fast as to ask for it
    return c_void_p.from_address(id(array) + object.__basicsize__).value or 0


_probe = np.ones(1)

address_of = _read if _read(_probe) == _asked(_probe) else _asked
