"""Numbers kept as pairs (x, lost): the rounded number and what its rounding lost.

Over the reals ``lost`` is zero and every function here is its plain counterpart; in floating point
the pair carries about twice the digits through the few steps where a power would multiply the
error. References: T. J. Dekker 1971; D. E. Knuth, TAOCP vol. 2, 4.2.2.
"""

from typing import Any

from refloss.formula.words import (
    INFINITY,
    absolute,
    power,
    product,
    product_error,
    quotient,
    sum_error,
    where,
)

TINY = 2.0**-960  # what is smaller may have lost digits to underflow


def lost_sum(x: Any, y: Any) -> Any:
    """What ``x + y`` lost, of two numbers that are finite, as is their sum; or NaN."""
    total = x + y
    part = total - x
    return (x - (total - part)) + (y - part)


def blend_parts(a: Any, x: Any, b: Any, y: Any) -> tuple[Any, Any]:
    """a x + b y as a pair; a mass of zero silences its term."""
    first, second = product(a, x), product(b, y)
    lost = product_error(a, x) + product_error(b, y) + sum_error(first, second)
    return first + second, lost


def blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    """The same, rounded: about once instead of three times."""
    rounded, lost = blend_parts(a, x, b, y)
    return rounded + lost


def product_parts(x: Any, x_lost: Any, y: Any, y_lost: Any) -> tuple[Any, Any]:
    """A product of pairs, whose numbers are finite, as a pair."""
    return x * y, product_error(x, y) + (x_lost * y + x * y_lost)


def remainder(numerator: Any, quotient: Any, denominator: Any) -> Any:
    """What ``quotient * denominator`` leaves of the numerator."""
    return (numerator - quotient * denominator) - product_error(quotient, denominator)


def ratio_error(
    numerator: Any, numerator_lost: Any, denominator: Any, denominator_lost: Any
) -> Any:
    """What ``numerator / denominator`` lost, with what its two parts had lost before."""
    rounded = numerator / denominator
    rest = remainder(numerator, rounded, denominator)
    lost = (rest + numerator_lost - rounded * denominator_lost) / denominator
    return where(absolute(rounded) < INFINITY, lost, 0)


def ratio_parts(
    numerator: Any, numerator_lost: Any, denominator: Any, denominator_lost: Any
) -> tuple[Any, Any]:
    """A quotient of pairs as a pair, from one division; both finite, the denominator not small."""
    rate = 1 / denominator
    rounded = numerator * rate
    rest = remainder(numerator, rounded, denominator)
    return rounded, (rest + (numerator_lost - rounded * denominator_lost)) * rate


def ratio(numerator: Any, numerator_lost: Any, denominator: Any, denominator_lost: Any) -> Any:
    """The same, rounded."""
    rounded, lost = ratio_parts(numerator, numerator_lost, denominator, denominator_lost)
    return rounded + lost


def power_parts(x: Any, lost: Any, exponent: Any) -> tuple[Any, Any]:
    """(x + lost)^exponent for x >= 0, and what an error in x, which counts so often, is in it."""
    rounded = power(x, exponent)
    return rounded, rounded * (exponent * quotient(lost, x))


def power_of_pair(x: Any, lost: Any, exponent: Any) -> Any:
    """The same, rounded."""
    rounded, lost = power_parts(x, lost, exponent)
    return rounded + lost
