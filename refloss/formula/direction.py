"""The cosine of two vectors, in words.

With u and v the unit vectors, c = u . v. Where the vectors are almost parallel 1 - c loses all
digits: at an angle of 1e-8 it is 0 in double precision and 5e-17 in truth. There

    1 - c = |u - v|^2 / 2,    dc/dx = (v - c u) / |x| = ((v - u) + (1 - c) u) / |x|,

and likewise with u + v where they are almost opposite. The sums are the kernel's. A vector of
zeros has no direction: its unit vector is taken to be zero, so the cosine is 0 and moves nothing.
"""

from typing import Any

from refloss.formula.words import INFINITY, absolute, quotient, sqrt, where


def scaled(x: Any, top: Any) -> Any:
    """x / m, for m the largest absolute value of the vector: squares of it are in range."""
    finite = where(top < INFINITY, x / top, where(absolute(x) < INFINITY, 0, x))
    return where(top == 0, 0, finite)


def square(scaled: Any) -> Any:
    return scaled * scaled


def length(total: Any, top: Any) -> Any:
    """|x|, from the sum of the squares."""
    return where(total == 0, total, top * sqrt(total))


def unit(scaled: Any, total: Any) -> Any:
    """A component of x / |x|."""
    return quotient(scaled, sqrt(total))


def overlap(first: Any, second: Any) -> Any:
    """A component's part of the cosine of two unit vectors."""
    return first * second


def apart(first: Any, second: Any) -> Any:
    """A component's part of 1 - c."""
    r = first - second
    return r * r / 2


def against(first: Any, second: Any) -> Any:
    """A component's part of 1 + c."""
    r = first + second
    return r * r / 2


def gap(cosine: Any, apart: Any) -> Any:
    """1 - c."""
    return where(2 * cosine > 1, apart, 1 - cosine)


def swing(first: Any, second: Any, gap: Any) -> Any:
    """dc/du for a unit vector, from 1 - c; not where the vectors are almost opposite."""
    return (second - first) + gap * first


def turn(first: Any, second: Any, cosine: Any, apart: Any, against: Any, length: Any) -> Any:
    """dc/dx, x the vector of ``first`` and ``length``."""
    near = swing(first, second, apart)
    opposite = (second + first) - against * first
    between = where(2 * cosine < -1, opposite, second - cosine * first)
    across = where(2 * cosine > 1, near, between)
    return where(length == 0, 0, across / length)
