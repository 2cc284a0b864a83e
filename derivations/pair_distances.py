"""Distances between two vectors, exactly: what they are, their slopes, and their conditions.

The condition of a number is the size of what careful arithmetic has to add up to get it; an error
is counted against it (see ``composition.py``). A difference of two inputs costs one rounding, so
its condition is its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flint import arb, fmpq

from derivations import surds
from derivations.enclose import ONE, ZERO
from derivations.surds import NOTHING, Surd, exact

Vector = Sequence[fmpq]
TWO = fmpq(2)


@dataclass(frozen=True)
class Slope:
    """One component of a distance's derivative, or the interval of a kink.

    ``low`` is None where any number is right: the direction of a zero vector is anybody's guess.
    """

    low: Surd | None
    high: Surd
    condition: Surd

    def negative(self) -> Slope:
        if self.low is None:
            return self
        low = -self.high
        return Slope(low, low if self.low is self.high else -self.low, self.condition)


@dataclass(frozen=True)
class Distance:
    """A distance, its condition, and its derivative in the first and in the second vector."""

    value: Surd
    condition: Surd
    first: Sequence[Slope]
    second: Sequence[Slope]


def _one(slope: Surd) -> Slope:
    return Slope(slope, slope, abs(slope))


ANYTHING = Slope(None, NOTHING, NOTHING)
FLAT = _one(NOTHING)
UNIT = Slope(exact(-1), exact(1), exact(1))


def _of_difference(value: Surd, slopes: Sequence[Slope]) -> Distance:
    return Distance(value, value, slopes, [slope.negative() for slope in slopes])


def _difference(x: Vector, y: Vector) -> list[fmpq]:
    return [a - b for a, b in zip(x, y, strict=True)]


def dot(x: Vector, y: Vector) -> fmpq:
    return sum((a * b for a, b in zip(x, y, strict=True)), ZERO)


def euclidean(x: Vector, y: Vector) -> Distance:
    """The root of the sum of squares; where it is zero, each slope may be anything in [-1, 1]."""
    r = _difference(x, y)
    square = dot(r, r)
    if square == 0:
        return _of_difference(NOTHING, [UNIT] * len(r))
    inverse = surds.root(ONE / square)
    return _of_difference(surds.root(square), [_one(inverse.times(c)) for c in r])


def sqeuclidean(x: Vector, y: Vector) -> Distance:
    """The sum of squares."""
    r = _difference(x, y)
    return _of_difference(exact(dot(r, r)), [_one(exact(2 * c)) for c in r])


def cityblock(x: Vector, y: Vector) -> Distance:
    """The sum of absolute values."""
    r = _difference(x, y)
    slopes = [_one(exact(1 if c > 0 else -1)) if c != 0 else UNIT for c in r]
    return _of_difference(exact(sum((abs(c) for c in r), ZERO)), slopes)


def cosine(x: Vector, y: Vector) -> Distance:
    """1 - x . y / (|x| |y|); the cosine with a zero vector counts as zero.

    The condition of the value is that of sum_k (u_k - v_k)^2 / 2 with the unit vectors u and v.
    """
    xx, yy, xy = dot(x, x), dot(y, y), dot(x, y)
    if xx == 0 or yy == 0:
        first = [FLAT if xx != 0 else ANYTHING] * len(x)
        second = [FLAT if yy != 0 else ANYTHING] * len(y)
        return Distance(exact(1), exact(1), first, second)
    inverse = surds.root(ONE / (xx * yy))
    value = exact(1) - inverse.times(xy)
    condition = exact(1) if value.sign() == 0 else _apart(x, y, xx, yy, inverse)
    overlap = sum((abs(a * b) for a, b in zip(x, y, strict=True)), ZERO)

    def slopes(own: Vector, other: Vector, square: fmpq) -> list[Slope]:
        found = []
        for a, b in zip(own, other, strict=True):
            slope = inverse.times(xy * a / square - b)
            found.append(Slope(slope, slope, inverse.times(overlap * abs(a) / square + abs(b))))
        return found

    return Distance(value, condition, slopes(x, y, xx), slopes(y, x, yy))


def _apart(x: Vector, y: Vector, xx: fmpq, yy: fmpq, inverse: Surd) -> Surd:
    """The sum of (|u| + |v|) |u - v| / 2, which is |u^2 - v^2| / 2 where the signs agree."""
    rational, product = ZERO, ZERO
    for a, b in zip(x, y, strict=True):
        u2, v2 = a * a / xx, b * b / yy
        if a * b > 0:
            rational += abs(u2 - v2) / 2
        else:
            rational += (u2 + v2) / 2
            product += abs(a * b)
    return exact(rational) + inverse.times(product)


def normalised(x: Vector, y: Vector) -> Distance:
    """The Euclidean distance of the unit vectors of two that do not point the same way.

    It is the root of 2 (1 - cos), and where that is a root of a root only balls are left.
    """
    angle = cosine(x, y)
    square = angle.value.times(TWO).number()
    length = arb(square).sqrt()

    def over_length(number: Surd) -> Surd:
        return NOTHING if number.sign() == 0 else surds.ball(number.number() / length)

    def scaled(slopes: Sequence[Slope]) -> list[Slope]:
        found = []
        for slope in slopes:
            assert slope.low is not None
            one = over_length(slope.low)
            found.append(Slope(one, one, over_length(slope.condition)))
        return found

    value = surds.root(square) if isinstance(square, fmpq) else surds.ball(length)
    condition = over_length(angle.condition.times(TWO))
    return Distance(value, condition, scaled(angle.first), scaled(angle.second))


def normalised_square(x: Vector, y: Vector) -> Distance:
    """The squared distance of the unit vectors, 2 (1 - cos); no vector is zero."""
    angle = cosine(x, y)

    def twice(slopes: Sequence[Slope]) -> list[Slope]:
        found = []
        for slope in slopes:
            assert slope.low is not None
            one = slope.low.times(TWO)
            found.append(Slope(one, one, slope.condition.times(TWO)))
        return found

    return Distance(
        angle.value.times(TWO), angle.condition.times(TWO), twice(angle.first), twice(angle.second)
    )


Metric = Callable[[Vector, Vector], Distance]

METRICS: dict[str, Metric] = {
    "euclidean": euclidean,
    "sqeuclidean": sqeuclidean,
    "cosine": cosine,
    "cityblock": cityblock,
}

# The same after each embedding has been divided by its length.
NORMALISED: dict[str, Metric] = {"euclidean": normalised, "sqeuclidean": normalised_square}
