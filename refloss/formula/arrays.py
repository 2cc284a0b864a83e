"""The reading over whole arrays, in any namespace of the Python array API standard.

``exp`` and ``log`` are the namespace's own, so float64 results are as good as those; everything
else is exact arithmetic on float64 arrays. What ``exp`` lost is not known here and counts as 0.
"""

import math
from collections.abc import Mapping
from typing import Any

from refloss.formula import words

Array = Any

_SPLITTER = 2.0**27 + 1


def meaning(xp: Any) -> Mapping[str, Any]:
    """What each word means for float64 arrays of the namespace ``xp``."""

    def array(x: Any, like: Array) -> Array:
        return xp.full_like(like, x) if isinstance(x, int | float) else x

    def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
        if isinstance(condition, bool):
            return chosen if condition else otherwise
        like = xp.astype(condition, xp.float64)
        return xp.where(condition, array(chosen, like), array(otherwise, like))

    def absolute(x: Any) -> Any:
        return abs(x) if isinstance(x, int | float) else xp.abs(x)

    def of_array(function: Any, scalar: Any) -> Any:
        return lambda x: scalar(x) if isinstance(x, int | float) else function(x)

    def exp_error(x: Any) -> Any:
        return 0.0

    def power(x: Any, exponent: float) -> Any:
        return x**exponent

    def product(mass: Any, x: Any) -> Any:
        return where(mass == 0, 0.0, mass * x)

    def quotient(mass: Any, x: Any) -> Any:
        return where(mass == 0, 0.0, mass / x)

    def finite_or_zero(lost: Any, rounded: Any) -> Any:
        return where(absolute(rounded) < math.inf, lost, 0.0)

    def sum_error(x: Any, y: Any) -> Any:
        total = x + y
        y_part = total - x
        return finite_or_zero((x - (total - y_part)) + (y - y_part), total)

    def split(x: Any) -> tuple[Any, Any]:
        # numbers beyond 2^970 would overflow; their products carry no error worth tracking
        scaled = where(absolute(x) < 2.0**970, x, 0.0)
        high = scaled * _SPLITTER
        high = high - (high - scaled)
        return high, scaled - high

    def product_error(x: Any, y: Any) -> Any:
        rounded = x * y
        x_high, x_low = split(x)
        y_high, y_low = split(y)
        lost = ((x_high * y_high - rounded) + x_high * y_low + x_low * y_high) + x_low * y_low
        inside = (absolute(rounded) > 2.0**-960) & (absolute(rounded) < 2.0**960)
        inside = inside & (absolute(x) < 2.0**970) & (absolute(y) < 2.0**970)
        return where(inside, lost, 0.0)

    return {
        "where": where,
        "absolute": absolute,
        "exp": of_array(xp.exp, words.exp),
        "exp_error": exp_error,
        "expm1": of_array(xp.expm1, words.expm1),
        "log": of_array(xp.log, words.log),
        "log1p": of_array(xp.log1p, words.log1p),
        "power": power,
        "sqrt": of_array(xp.sqrt, words.sqrt),
        "product": product,
        "quotient": quotient,
        "sum_error": sum_error,
        "product_error": product_error,
    }
