"""A distance between two vectors as three formulas: no mathematics, only which they are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from refloss.formula import distance as length

Formula = Callable[..., Any]

LOWEST, HIGHEST = 2.0**-900, 2.0**900  # outside of these, a sum of terms is taken again, scaled


class Metric(NamedTuple):
    """A component's term, the distance of the sum, and its slope in a component's difference."""

    term: Formula
    root: Formula
    slope: Formula


# By its slope, a metric's rate of a pair and step of a component: their product is the slope,
# weighted. For kernels that have the distances at hand
RATES: Mapping[Formula, tuple[Formula, Formula]] = {
    length.square_slope: (length.square_rate, length.step),
    length.squared_slope: (length.squared_rate, length.step),
    length.absolute_slope: (length.absolute_rate, length.sign),
}
