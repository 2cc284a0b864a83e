"""Every anchor's farthest positive and nearest negative on the CPU, and what their hinges come to.

Only those are measured with care that a matrix product cannot tell from the farthest or nearest.
"""

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from refloss.formula import direction, hinge
from refloss.formula import distance as length
from refloss.formula.compiled import compile_formula
from refloss.formula.elementary import two_sum
from refloss.kernels.cache import kept
from refloss.kernels.cpu import FAR, NEAR, OPPOSITE, exact_distance, turn_all
from refloss.kernels.metric import RATES, Metric
from refloss.kernels.simd.extremes import MOST, Rough, is_usual

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Formula = Callable[..., Any]

POSITIVE, NEGATIVE = 0, 1  # the ends of an anchor

_inner = numba.njit(error_model="numpy", nogil=True)

_excess_over = compile_formula(hinge.excess_over)
_hinge = compile_formula(hinge.hinge)
_active = compile_formula(hinge.active)
_swing = compile_formula(direction.swing)


class Hinges(NamedTuple):
    """The loss as a pair, how many triplets there are and how many of them are active, and by how
    much each anchor's counts."""

    loss: tuple[float, float]
    number: int
    active: int
    weight: Floats


class Extremes:
    """Of every row the farthest positive and the nearest negative, of several the first.

    Attributes
    ----------
    ends : whole numbers (N, 2), -1 where there is none
    distance : how far they are, (N, 2)
    """

    def __init__(self, x: Floats, labels: Any, metric: Metric | None) -> None:
        self.x, self.metric = np.ascontiguousarray(x), metric
        self.rough = Rough(self.x, labels)
        self.ends = np.empty((x.shape[0], 2), np.int64)
        self.distance = np.empty((x.shape[0], 2))

    def find(self, rows: slice) -> bool:
        """Find those of some rows, or see that there are too many to choose from."""
        candidates, counts = self.rough.candidates(rows)
        if np.any(counts > MOST):
            return False
        settle = _settle(self.metric)
        settle(self.x, rows.start, candidates, counts, self.ends, self.distance)
        d = self.distance[rows]
        return bool(np.all((d == 0) | ((d > NEAR) & (d < FAR))))

    def hinges(self, margin: float) -> Hinges:
        """What the triplets come to."""
        weight = np.zeros(len(self.x))
        high, low, number, active = _hinges(self.ends, self.distance, margin, weight)
        return Hinges((high, low), number, active, weight)

    def gradient(self, weight: Floats) -> Floats:
        """Of the weighted sum of d(a, p) - d(a, n), by the rows; on the sphere by angle."""
        out = np.zeros(self.x.shape)
        pull = _turn() if self.metric is None else _pull(*RATES[self.metric.slope])
        pull(self.x, self.ends, self.distance, weight, out)
        return out


def extremes(x: Floats, labels: Any, metric: Metric | None) -> Extremes | None:
    """Extremes yet to be found, where a product can tell distances; without a metric, angles."""
    if not x.size or not np.all(np.isfinite(x)):
        return None
    if metric is None:
        told = bool(np.all(np.any(x, axis=1)))  # zeros have no direction
    else:
        told = metric.term is length.square_term and metric.slope in RATES and is_usual(x)
    return Extremes(x, labels, metric) if told else None


@cache
def _settle(metric: Metric | None) -> Formula:
    exact = exact_distance(metric)

    def settle(
        x: Floats, first: int, candidates: Any, counts: Any, ends: Any, distance: Floats
    ) -> None:
        terms = np.empty(x.shape[1])
        for i in range(counts.shape[0]):
            for kind in range(2):
                best, at = 0.0, -1
                for c in range(counts[i, kind]):
                    k = candidates[i, kind, c]
                    d = exact(x[first + i], x[k], terms)
                    if at < 0 or (d < best if kind == NEGATIVE else d > best):
                        best, at = d, k
                ends[first + i, kind] = at
                distance[first + i, kind] = best

    return kept(settle, ("extremes", metric))


@kept
def _hinges(
    ends: Any, distance: Floats, margin: float, weight: Floats
) -> tuple[float, float, int, int]:
    high, low = 0.0, 0.0
    number, active = 0, 0
    for a in range(ends.shape[0]):
        if ends[a, POSITIVE] >= 0 and ends[a, NEGATIVE] >= 0:
            excess = _excess_over(distance[a, POSITIVE], distance[a, NEGATIVE], margin)
            high, lost = two_sum(high, _hinge(excess))
            low += lost
            weight[a] = _active(excess)
            number += 1
            active += weight[a] > 0
    return high, low, number, active


@cache
def _pull(rate: Formula, step: Formula) -> Formula:
    along = compile_formula(step)
    factor = _factor(rate)

    def pull(x: Floats, ends: Any, distance: Floats, weight: Floats, out: Floats) -> None:
        for a in range(x.shape[0]):
            if weight[a] != 0.0:
                for kind in range(2):
                    k = ends[a, kind]
                    own = weight[a] if kind == POSITIVE else -weight[a]
                    by = factor(own, distance[a, kind])
                    for d in range(x.shape[1]):
                        moved = by * along(x[a, d] - x[k, d])
                        out[a, d] += moved
                        out[k, d] -= moved

    return kept(pull, ("pull", rate, step))


def _factor(rate: Formula) -> Formula:
    """The rate as a function of weight and distance, whether or not it needs both."""
    compiled = compile_formula(rate)
    if len(signature(rate).parameters) == 2:
        return compiled

    @_inner
    def of_weight(weight: float, distance: float) -> float:
        return compiled(weight)

    return of_weight


@cache
def _turn() -> Formula:
    def turn(u: Floats, ends: Any, gap: Floats, weight: Floats, out: Floats) -> None:
        terms = np.empty(u.shape[1])
        for a in range(u.shape[0]):
            if weight[a] != 0.0:
                for kind in range(2):
                    k = ends[a, kind]
                    own = weight[a] if kind == POSITIVE else -weight[a]
                    if gap[a, kind] < OPPOSITE:
                        for d in range(u.shape[1]):
                            one, other = u[a, d], u[k, d]
                            out[a, d] -= own * _swing(one, other, gap[a, kind])
                            out[k, d] -= own * _swing(other, one, gap[a, kind])
                    else:
                        turn_all(u[a], u[k], own, terms, out[a])
                        turn_all(u[k], u[a], own, terms, out[k])

    return kept(turn)
