"""The hinge max(0, x), in words.

At the kink its slope may be anything from 0 to 1; here it is 0: what keeps its margin exactly
pulls at nothing.
"""

from typing import Any

from refloss.formula.words import sum_error, where


def hinge(x: Any) -> Any:
    """max(0, x)."""
    return where(x <= 0, 0, x)


def active(x: Any) -> Any:
    """The slope of ``hinge``; that of a difference of infinities has no value either."""
    return where(x > 0, 1, where(x <= 0, 0, x))


def excess_over(larger: Any, smaller: Any, margin: Any) -> Any:
    """larger - smaller + margin, rounded about once."""
    gap = larger - smaller
    return (gap + margin) + (sum_error(larger, -smaller) + sum_error(gap, margin))
