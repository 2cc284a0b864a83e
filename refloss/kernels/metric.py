"""A distance between two vectors as three formulas: no mathematics, only which they are."""

from collections.abc import Callable
from typing import Any, NamedTuple

Formula = Callable[..., Any]


class Metric(NamedTuple):
    """A component's term, the distance of the sum, and its slope in a component's difference."""

    term: Formula
    root: Formula
    slope: Formula
