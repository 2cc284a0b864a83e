"""The reading over NumPy's scalars of one format, one number at a time.

It stands in for the machine where there is none: in CUDA's simulator. ``exp`` and ``log`` are
NumPy's; everything else is the same arithmetic, rounded alike.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

_SPLIT = {np.float64: 2.0**27 + 1, np.float32: 2.0**12 + 1}
_RANGE = {np.float64: 2.0**970, np.float32: 2.0**110}


@cache
def meaning(kind: Any, keeps_lost: bool = True) -> Mapping[str, Any]:
    """What each word means for scalars of ``np.float64`` or ``np.float32``."""
    zero, infinity = kind(0), math.inf
    splitter, reach = kind(_SPLIT[kind]), _RANGE[kind]

    def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
        return kind(chosen if condition else otherwise)

    def of(function: Any) -> Any:
        return lambda x: function(kind(x))

    def power(x: Any, exponent: Any) -> Any:
        return kind(x) ** kind(exponent)

    def product(mass: Any, x: Any) -> Any:
        return mass if mass == 0 else kind(mass) * kind(x)

    def quotient(mass: Any, x: Any) -> Any:
        return mass if mass == 0 else kind(mass) / kind(x)

    def sum_error(x: Any, y: Any) -> Any:
        total = kind(x) + kind(y)
        part = total - x
        lost = (x - (total - part)) + (y - part)
        return lost if abs(total) < infinity else zero

    def split(x: Any) -> Any:
        high = x * splitter
        high = high - (high - x)
        return high, x - high

    def product_error(x: Any, y: Any) -> Any:
        x, y = kind(x), kind(y)
        rounded = x * y
        if not (abs(rounded) < reach and abs(x) < reach and abs(y) < reach):
            return zero
        (x_high, x_low), (y_high, y_low) = split(x), split(y)
        return ((x_high * y_high - rounded) + x_high * y_low + x_low * y_high) + x_low * y_low

    wider = np.longdouble if kind is np.float64 else np.float64

    def exp_error(x: Any) -> Any:
        true = np.exp(wider(x))
        lost = true - wider(np.exp(kind(x)))
        return kind(lost) if abs(true) < infinity else zero

    def nothing(*numbers: Any) -> Any:
        return zero

    return {
        "where": where,
        "absolute": of(abs),
        "exp": of(np.exp),
        "exp_error": exp_error if keeps_lost else nothing,
        "expm1": of(np.expm1),
        "log": of(np.log),
        "log1p": of(np.log1p),
        "power": power,
        "sqrt": of(np.sqrt),
        "product": product,
        "quotient": quotient,
        "sum_error": sum_error if keeps_lost else nothing,
        "product_error": product_error if keeps_lost else nothing,
        "TINY": 2.0**-960 if kind is np.float64 else 2.0**-100,
    }
