"""What the triplets of some anchors come to, on the CPU: one anchor after the other, no list."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from refloss.formula import hinge, triplet
from refloss.formula.compiled import compile_formula
from refloss.formula.elementary import two_sum
from refloss.kernels.cache import kept

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Found = tuple[float, float, int, int]

ALL, SEMIHARD, EASY = 0, 1, 2
KINDS = {"all": ALL, "semihard": SEMIHARD, "easy": EASY}
FEW = 64  # positives that a negative is compared with one by one; of more, the sorted ones

# Of no literal type: for each of these, Numba would compile what they are given to once more
NONE: Any = np.int64(0)
LESS, UP_TO = np.bool_(False), np.bool_(True)

_inner = numba.njit(error_model="numpy", nogil=True)

_reach = compile_formula(triplet.reach)
_regrouped = compile_formula(triplet.regrouped)
_excess_over = compile_formula(hinge.excess_over)
_hinge = compile_formula(hinge.hinge)
_active = compile_formula(hinge.active)


@_inner
def _number_below(x: Floats, count: int, at: float, up_to: bool) -> int:
    """How many of the first sorted numbers are less than one, or not more."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if x[middle] < at or (up_to and x[middle] == at):
            low = middle + 1
        else:
            high = middle
    return low


@kept
def survey(d: Floats) -> tuple[bool, float]:
    """Whether a distance off the diagonal is missing, and the largest finite one."""
    missing, largest = False, 0.0
    for i in range(d.shape[0]):
        for k in range(d.shape[1]):
            missing |= np.isnan(d[i, k]) and i != k
            largest = d[i, k] if largest < d[i, k] < np.inf else largest
    return missing, largest


@kept
def _hardest(
    d: Floats, unit: float, labels: Labels, first: int, margin: float, pull: Floats
) -> Found:
    high, low = 0.0, 0.0
    number, active = 0, 0
    for i in range(d.shape[0]):
        own = labels[first + i]
        p, n = -1, -1
        for k in range(d.shape[1]):
            pull[i, k] = 0.0
            if labels[k] != own:
                if n < 0 or d[i, k] < d[i, n]:
                    n = k
            elif k != first + i and (p < 0 or d[i, k] > d[i, p]):
                p = k
        if p >= 0 and n >= 0:
            excess = _excess_over(d[i, p] * unit, d[i, n] * unit, margin)
            high, lost = two_sum(high, _hinge(excess))
            low += lost
            on = _active(excess)
            pull[i, p], pull[i, n] = on, -on
            number += 1
            active += on > 0
    return high, low, number, active


@kept
def _regroup(
    d: Floats,
    unit: float,
    sorted_d: Floats,
    own_sorted: Floats,
    labels: Labels,
    first: int,
    margin: float,
    kind: int,
    pull: Floats,
) -> Found:
    """``sorted_d`` has each anchor's negatives in front, from near to far, and ``own_sorted`` its
    positives if there are more than a few."""
    high, low = 0.0, 0.0
    number, active = 0, 0
    count = d.shape[1]
    sums, rests = np.empty(count + 1), np.empty(count + 1)
    places = np.empty(count, np.int64)
    reaches, own_d = np.empty(count), np.empty(count)
    distance, negatives = np.empty(count), np.empty(count)
    for i in range(d.shape[0]):
        itself, own = first + i, labels[first + i]
        positives, alike, many = NONE, NONE, NONE
        for k in range(count):
            pull[i, k] = 0.0
            distance[k] = d[i, k] * unit
            if labels[k] != own:
                many += 1
            elif k != itself:
                alike += 1
                reach = _reach(distance[k], margin)
                if kind != SEMIHARD or reach > distance[k]:
                    places[positives] = k
                    own_d[positives], reaches[positives] = distance[k], reach
                    positives += 1
        if positives == 0:
            continue
        sums[0], rests[0] = 0.0, 0.0
        for k in range(many):
            negatives[k] = sorted_d[i, k] * unit
            x = negatives[k] if negatives[k] < np.inf else 0.0
            sums[k + 1], lost = two_sum(sums[k], x)
            rests[k + 1] = rests[k] + lost
        for j in range(positives):
            below = _number_below(negatives, many, reaches[j], LESS)
            passed = NONE
            if kind == SEMIHARD:
                passed = _number_below(negatives, many, own_d[j], UP_TO)
            if kind == EASY:
                number += many - below
                continue
            loss = _regrouped(
                reaches[j], below, passed, sums[below], rests[below], sums[passed], rests[passed]
            )
            high, lost = two_sum(high, loss)
            low += lost
            active += below - passed
            number += many if kind == ALL else below - passed
            pull[i, places[j]] = below - passed
        if kind != EASY and positives > FEW:
            positives = NONE
            for k in range(alike):  # in order, as their reaches are
                x = own_sorted[i, k] * unit
                reach = _reach(x, margin)
                if kind != SEMIHARD or reach > x:
                    own_d[positives], reaches[positives] = x, reach
                    positives += 1
        if kind != EASY:
            _push(pull[i], distance, labels, own, reaches, own_d, positives, kind)
    return high, low, number, active


@_inner
def _push(
    pull: Floats,
    distance: Floats,
    labels: Labels,
    own: int,
    reaches: Floats,
    own_d: Floats,
    positives: int,
    kind: int,
) -> None:
    """A negative is pushed by every positive that reaches it and is not farther than it already."""
    count = distance.size
    pushes = np.zeros(count)
    if positives <= FEW:
        for j in range(positives):
            reach = reaches[j]
            for k in range(count):
                pushes[k] += 1.0 if reach > distance[k] else 0.0
            if kind == SEMIHARD:
                nearest = own_d[j]
                for k in range(count):
                    pushes[k] -= 1.0 if nearest >= distance[k] else 0.0
    else:
        for k in range(count):
            if labels[k] != own:
                pushes[k] = positives - _number_below(reaches, positives, distance[k], UP_TO)
                if kind == SEMIHARD:
                    pushes[k] -= positives - _number_below(own_d, positives, distance[k], LESS)
    for k in range(count):
        if labels[k] != own:
            pull[k] -= pushes[k]


def choose(
    d: Floats, unit: float, labels: Any, first: int, mining: str, margin: float
) -> tuple[tuple[float, float], int, int, Floats]:
    """The loss of some anchors' triplets as a pair, how many they are, how many of them are active,
    and the derivatives by the distances; ``d`` has the distances in units of ``unit``."""
    pull = np.empty(d.shape)
    labels = np.ascontiguousarray(labels, np.int64)
    if mining == "hard":
        high, low, number, active = _hardest(d, unit, labels, first, margin, pull)
    else:
        same = labels == labels[first : first + len(d), None]
        sorted_d = np.sort(np.where(same, np.inf, d), axis=1)
        own_sorted = sorted_d
        if np.any(np.count_nonzero(same, axis=1) > FEW):
            same[np.arange(len(d)), first + np.arange(len(d))] = False
            own_sorted = np.sort(np.where(same, d, np.inf), axis=1)
        further = (labels, first, margin, KINDS[mining], pull)
        high, low, number, active = _regroup(d, unit, sorted_d, own_sorted, *further)
    return (high, low), number, active, pull
