"""The exponential where it never grows, what its logarithm is, and its excess, in words."""

from typing import Any

from refloss.formula.words import INFINITY, absolute, exp, expm1, log1p, where


def fading(x: Any) -> Any:
    """e^-x for x >= 0."""
    return exp(-x)


def log1p_of_share(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1."""
    return log1p(x)


def excess_series(x: Any) -> Any:
    """The Taylor series of e^x - 1 - x to x^19; for |x| <= 1 its remainder is below 2^-57."""
    s = 1 + x / 19
    s = 1 + x / 18 * s
    s = 1 + x / 17 * s
    s = 1 + x / 16 * s
    s = 1 + x / 15 * s
    s = 1 + x / 14 * s
    s = 1 + x / 13 * s
    s = 1 + x / 12 * s
    s = 1 + x / 11 * s
    s = 1 + x / 10 * s
    s = 1 + x / 9 * s
    s = 1 + x / 8 * s
    s = 1 + x / 7 * s
    s = 1 + x / 6 * s
    s = 1 + x / 5 * s
    s = 1 + x / 4 * s
    s = 1 + x / 3 * s
    return x * x / 2 * s


def excess(x: Any) -> Any:
    """e^x - 1 - x >= 0, without the cancellation near 0 where it is x^2 / 2."""
    far = where(absolute(x) < INFINITY, expm1(x) - x, absolute(x))
    return where(absolute(x) <= 1, excess_series(x), far)
