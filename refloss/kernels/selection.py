"""Orders, counts and running sums of one row of numbers, in any array namespace."""

import math
from typing import Any

from array_api_compat import array_namespace, device

Array = Any


def ordered(x: Array) -> Array:
    """The numbers from small to large."""
    return array_namespace(x).sort(x)


def number_below(sorted_x: Array, at: Array) -> Array:
    """How many of the sorted numbers are less than each of ``at``."""
    return array_namespace(sorted_x).searchsorted(sorted_x, at, side="left")


def number_up_to(sorted_x: Array, at: Array) -> Array:
    """How many of the sorted numbers are not more than each of ``at``."""
    return array_namespace(sorted_x).searchsorted(sorted_x, at, side="right")


def running_sums(x: Array) -> tuple[Array, Array]:
    """(n,) -> (n + 1,): the sums of the first 0, 1, ..., n numbers, as pairs (high, low).

    Every number is cut where all of the cuts together fit into a double, so that the high sums are
    exact and only the small rests are rounded.
    """
    xp = array_namespace(x)
    largest = float(xp.max(xp.abs(x))) if x.shape[0] else 0.0
    scale = 0.0
    if 0.0 < largest < 2.0**900:
        scale = math.ldexp(3.0, math.frexp(largest)[1] + x.shape[0].bit_length())
    high = (x + scale) - scale
    zero = xp.zeros(1, dtype=xp.float64, device=device(x))
    sums = (xp.cumulative_sum(part) for part in (high, x - high))
    first, second = (xp.concat([zero, part]) for part in sums)
    return first, second


def taken(x: Array, at: Array) -> Array:
    """The numbers of these numbers."""
    return array_namespace(x).take(x, at)
