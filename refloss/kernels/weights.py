"""The least and the largest of weights, which decide on what may be done with them."""

from typing import Any

import numpy as np

from refloss.kernels.cache import kept

Array = Any

FEW = 1 << 9  # numbers that are looked at one by one sooner than NumPy has begun

READ = (np.dtype(np.float32), np.dtype(np.float64))  # native, as compiled functions take them


def _ends(weights: Any) -> tuple[float, float]:
    least, largest = np.inf, -np.inf
    for i in range(weights.size):
        x = np.float64(weights[i])
        if x != x:
            return x, x
        least, largest = min(x, least), max(x, largest)
    return least, largest


_ends = kept(_ends)


def ends_of(weights: Array) -> tuple[float, float]:
    """The least and the largest weight; both NaN if one is, or if there is none."""
    if weights.size == 0:
        return np.nan, np.nan
    if weights.ndim == 1 and weights.size <= FEW and weights.dtype in READ:
        least, largest = _ends(weights)
        return least, largest
    with np.errstate(invalid="ignore"):  # bfloat16's comparison flags a NaN
        return weights.min().item(), weights.max().item()
