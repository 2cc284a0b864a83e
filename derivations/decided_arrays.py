"""NumPy's arrays of SymPy expressions, on one path through the branches.

Code that is written for any array namespace runs on them as it stands: NumPy sorts, counts and adds
up objects by asking them, and they compare as the path decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np

from derivations.explorer import Path, formula_on
from refloss.formula import direction
from refloss.formula import distance as length
from refloss.formula.reading import Formula
from refloss.formula.symbols import Condition, exact
from refloss.kernels.metric import Metric


class Decided:
    """An expression that compares as its path decides."""

    __slots__ = ("expression", "path")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: Path, expression: Any) -> None:
        self.path, self.expression = path, exact(plain(expression))

    def __add__(self, other: Any) -> Decided:
        return Decided(self.path, self.expression + exact(plain(other)))

    __radd__ = __add__

    def __neg__(self) -> Decided:
        return Decided(self.path, -self.expression)

    def __sub__(self, other: Any) -> Decided:
        return self + -Decided(self.path, other)

    def __rsub__(self, other: Any) -> Decided:
        return Decided(self.path, other) + -self

    def __mul__(self, other: Any) -> Decided:
        return Decided(self.path, self.expression * exact(plain(other)))

    __rmul__ = __mul__

    def __abs__(self) -> Decided:
        return -self if self < 0 else self

    def __lt__(self, other: Any) -> bool:
        return _less(self.path, self.expression, plain(other))

    def __gt__(self, other: Any) -> bool:
        return _less(self.path, plain(other), self.expression)

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __float__(self) -> float:
        """Infinity for what is unknown: it only says where to cut, and the reals need no cut."""
        return float(self.expression) if self.expression.is_number else math.inf


def plain(x: Any) -> Any:
    """What a number stands for."""
    return x.expression if isinstance(x, Decided) else x


def _less(path: Path, a: Any, b: Any) -> bool:
    for x, below in ((a, True), (b, False)):
        if isinstance(x, float) and math.isinf(x):
            return (x < 0) == below
    difference = exact(b) - exact(a)
    return bool(difference > 0) if difference.is_number else path.holds(Condition(difference, ">"))


class BatchKernels:
    """The kernels over arrays of objects, (N, D) and (N, N), on one path."""

    __name__ = "symbolic"

    def __init__(self, path: Path) -> None:
        self.path = path

    def map_formula(self, formula: Formula, quantities: Mapping[str, Any]) -> Any:
        """A formula of every element, spread against each other."""
        names = list(signature(formula).parameters)
        given = np.broadcast_arrays(*(np.asarray(quantities[name], object) for name in names))
        found = np.empty(given[0].shape, object)
        for at in np.ndindex(found.shape):
            here = {name: exact(plain(x[at])) for name, x in zip(names, given, strict=True)}
            found[at] = Decided(self.path, formula_on(self.path, formula, here))
        return found

    def sum_pair(self, x: Any) -> tuple[Any, int]:
        return np.sum(x), 0

    def class_sum(self, x: Any) -> Any:
        return np.sum(x, axis=-1, keepdims=True)

    def row_max(self, x: Any) -> Any:
        return np.max(x, axis=-1, keepdims=True)

    def _measured(self, x: Any, y: Any, metric: Metric) -> dict[str, Any]:
        known = {"x": x[:, None, :], "y": y[None, :, :], "eps": 0}
        known["residual"] = self.map_formula(length.residual, known)
        known["top"] = self.row_max(self.map_formula(length.size, {"x": known["residual"]}))
        known["share"] = self.map_formula(length.share, known)
        known["total"] = self.class_sum(self.map_formula(metric.term, known))
        return known

    def distances(self, x: Any, y: Any, metric: Metric) -> Any:
        return self.map_formula(metric.root, self._measured(x, y, metric))[..., 0]

    def steered(self, x: Any, y: Any, weight: Any, metric: Metric) -> Any:
        """For each row of x the weighted sum of the slopes of its distances."""
        slopes = self.map_formula(metric.slope, self._measured(x, y, metric))
        return np.sum(slopes * weight[..., None], axis=1)

    def _meeting(self, u: Any, v: Any) -> dict[str, Any]:
        known = {"first": u[:, None, :], "second": v[None, :, :], "length": 1}
        parts = {
            "cosine": direction.overlap,
            "apart": direction.apart,
            "against": direction.against,
        }
        for name, formula in parts.items():
            known[name] = self.class_sum(self.map_formula(formula, known))
        return known

    def angles(self, u: Any, v: Any) -> Any:
        return self.map_formula(direction.gap, self._meeting(u, v))[..., 0]

    def turned(self, u: Any, v: Any, weight: Any) -> Any:
        """For each row of u the weighted sum of the slopes of its angles on the sphere."""
        turns = self.map_formula(direction.turn, self._meeting(u, v))
        return np.sum(turns * weight[..., None] * -1, axis=1)
