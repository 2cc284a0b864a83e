"""Weights, ignored rows and denominators, stated once more, independently of what runs.

A reduced loss is ``sum(weight * loss) / denominator``; every derivative carries the same factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from flint import fmpq

from derivations.case import Case
from derivations.enclose import ONE, ZERO, Number, rational
from derivations.entry import NAN, Entry, add

# None stands for an undefined denominator: NaN.
Denominator: TypeAlias = Callable[
    [Case, tuple[int, ...], "Sequence[float] | None"], "Number | float"
]


def count(case: Case, shape: tuple[int, ...], weights: Sequence[float] | None) -> Number | float:
    """The number of elements for "mean", ``shape[0]`` for "batchmean"."""
    reduction = case.options.get("reduction", "mean")
    if reduction in ("none", "sum"):
        return ONE
    if reduction == "batchmean":
        return fmpq(shape[0])
    size = 1
    for n in shape:
        size *= n
    return fmpq(size)


def weight_sum(
    case: Case, shape: tuple[int, ...], weights: Sequence[float] | None
) -> Number | float:
    """The sum of the weights for "mean", where there are weights."""
    if weights is None or case.options.get("reduction", "mean") != "mean":
        return count(case, shape, weights)
    return exact_sum(weights)


def exact_sum(weights: Sequence[float]) -> Number | float:
    if any(w != w for w in weights):
        return NAN
    return sum((rational(w) for w in weights), ZERO)


def spread(entry: Entry, weight: float, denominator: Number | float) -> Entry:
    """The part that one element of a reduced loss has: weighted and divided."""
    if isinstance(denominator, float) or denominator == 0 or weight != weight:
        return Entry(NAN)
    return entry.times(rational(weight) / denominator)


def repeated(entry: Entry, times: int) -> Entry:
    """So many equal terms at once; the scale stays that of one of them."""
    if isinstance(entry.value, float) or times == 1:
        return entry
    scale = abs(entry.value) if entry.scale is None else entry.scale
    return Entry(entry.value * times, scale=scale, limit=entry.limit)


def reduced(parts: Iterable[Entry], denominator: Number | float) -> Entry:
    """The sum of all parts; NaN where the denominator is zero or undefined."""
    if isinstance(denominator, float) or denominator == 0:
        return Entry(NAN)
    return add(parts)


# Rows of classes -------------------------------------------------------------------------------


def picked_weight(
    case: Case, rows: int, labels: Sequence[int] | None, weight: Sequence[float] | None
) -> Number | float:
    """Denominator of row losses.

    "mean" divides by the sum of the weights of the labels of all rows not ignored (`labels`), or by
    the number of rows when targets are soft (`labels` is None); "batchmean" by ``shape[0]``.
    """
    reduction = case.options.get("reduction", "mean")
    if reduction in ("none", "sum"):
        return ONE
    if reduction == "batchmean":
        return fmpq(case.inputs["input"].shape[0])
    if labels is None:
        return fmpq(rows)
    if weight is None:
        return fmpq(len(labels))
    return exact_sum([weight[y] for y in labels])


RowDenominator: TypeAlias = Callable[
    [Case, int, "Sequence[int] | None", "Sequence[float] | None"], "Number | float"
]
