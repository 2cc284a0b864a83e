"""A distance between two vectors as three formulas: no mathematics, only which they are."""

from collections.abc import Callable
from typing import Any, NamedTuple

Formula = Callable[..., Any]

LOWEST, HIGHEST = 2.0**-900, 2.0**900  # outside of these, a sum of terms is taken again, scaled


class Metric(NamedTuple):
    """A component's term, the distance of the sum, and its slope in a component's difference."""

    term: Formula
    root: Formula
    slope: Formula
