"""One entry of an answer: a number, an infinity, NaN, or the interval of a kink, and its scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy
from flint import arb, fmpq

from derivations.enclose import ZERO, Number, constant, largest, less, smallest
from derivations.rounding import Uncertain, certified, hexadecimal

NAN = math.nan


@dataclass(frozen=True)
class Entry:
    """`value`, or the interval from `value` to `upper`.

    `scale` is the magnitude of the largest of the terms that were added to make it, where they
    cancel by more than a factor of two. `limit` says that a limit was taken to find it.
    """

    value: Number | float
    upper: Number | float | None = None
    scale: Number | None = None
    limit: bool = False

    def times(self, factor: Number | float) -> Entry:
        """Multiplied by a weight; a weight of zero wins over an infinity."""
        if isinstance(factor, float):
            return Entry(NAN)
        if factor == 0 and not _is_nan(self.value):
            return Entry(ZERO, limit=self.limit)
        value, upper = _times(self.value, factor), None
        if self.upper is not None:
            value, upper = sorted_pair(value, _times(self.upper, factor))
        scale = None if self.scale is None else self.scale * abs(factor)
        return replace(self, value=value, upper=upper, scale=scale)

    def certified(self) -> Any:
        """The entry of the oracle file; raises ``Uncertain`` if the balls are too wide."""
        value = text(self.value)
        if self.upper is None:
            return value
        upper = text(self.upper)
        return value if value == upper else [value, upper]

    def certified_scale(self) -> str | None:
        return None if self.scale is None else text(self.scale)


def text(number: Number | float) -> str:
    return hexadecimal(number if isinstance(number, float) else certified(number))


def is_ball(entry: Entry) -> bool:
    return isinstance(entry.value, arb) or isinstance(entry.upper, arb)


def sorted_pair(a: Number | float, b: Number | float) -> tuple[Number | float, Number | float]:
    if isinstance(a, fmpq | arb) and isinstance(b, fmpq | arb):
        return smallest([a, b]), largest([a, b])
    low, high = sorted((a, b), key=lambda x: x if isinstance(x, float) else 0.0)
    return low, high


def add(entries: Iterable[Entry]) -> Entry:
    """The sum, with the largest term as its scale if the terms cancel."""
    sums: list[Number] = []
    terms: list[Number] = []
    infinities = set()
    limit = False
    for entry in entries:
        limit = limit or entry.limit
        if isinstance(entry.value, float):
            infinities.add(entry.value)
        else:
            sums.append(entry.value)
            terms.append(abs(entry.value) if entry.scale is None else entry.scale)
    if infinities:
        value = infinities.pop() if len(infinities) == 1 else NAN
        return Entry(value, limit=limit)
    value = sum(sums, ZERO)
    return Entry(value, scale=cancelling(value, terms), limit=limit)


def cancelling(value: Number, terms: Sequence[Number]) -> Number | None:
    """The largest term, if it is certainly more than twice the sum."""
    if not terms:
        return None
    scale = largest(abs(term) for term in terms)
    return scale if 2 * abs(value) < scale else None


def from_terms(terms: Sequence[Number]) -> Entry:
    terms = [exactly(term) for term in terms]
    if len(terms) == 1:
        return Entry(terms[0])
    value = sum(terms, ZERO)
    return Entry(value, scale=cancelling(value, terms))


def exactly(number: Number) -> Number:
    """A ball without radius as the rational that it is: a product with zero, mostly."""
    if isinstance(number, fmpq) or not number.is_exact():
        return number
    mantissa, exponent = number.man_exp()
    return fmpq(mantissa) * fmpq(2) ** int(exponent)


def from_limits(limits: Sequence[sympy.Expr]) -> Entry:
    """The sum of terms that have each gone to their limit."""
    found = replace(add(Entry(_number(x)) for x in limits), limit=True)
    if len(limits) > 1 and isinstance(found.value, arb) and found.value.contains(0):
        # no ball can tell a sum that is exactly zero from a small one, algebra can
        if not _vanishes(sympy.Add(*limits)):
            raise Uncertain(str(found.value))
        return replace(found, value=ZERO)
    return found


def _vanishes(total: sympy.Expr) -> bool:
    """Whether algebra finds an expression zero, or its exponential one."""
    if sympy.simplify(total) == 0:
        return True
    numerator, denominator = sympy.fraction(sympy.together(sympy.exp(total)))
    return bool(sympy.expand(numerator - denominator) == 0)


def _number(x: sympy.Expr) -> Number | float:
    if x is sympy.nan:
        return NAN
    if x in (sympy.oo, -sympy.oo):
        return math.inf if x is sympy.oo else -math.inf
    return constant(x)


def _is_nan(x: Number | float) -> bool:
    return isinstance(x, float) and math.isnan(x)


def _times(x: Number | float, factor: Number) -> Number | float:
    if isinstance(x, float):
        return x if less(ZERO, factor) else -x
    return x * factor
