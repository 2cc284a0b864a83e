"""Sums of square roots with rational factors: exact numbers whose sign can always be told.

Distances between vectors of floats are roots of rationals, and what a loss does with them is to
add, subtract and compare. A :class:`Surd` keeps the roots as they are. Where a ball cannot
tell a sum from zero, algebra can: square roots of rationals are linearly independent over the
rationals unless the product of two of them is rational, so a sum is zero only if it is zero in
each class of roots that are rational multiples of each other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flint import arb, ctx, fmpq

from derivations.enclose import ZERO, Number
from derivations.rounding import Uncertain

_SQUARES = (4, 9, 25, 49)


@dataclass(frozen=True)
class Surd:
    """The sum of ``terms[n] sqrt(n)`` over whole numbers n, and of `rest`, a ball, if any."""

    terms: Mapping[int, fmpq] = field(default_factory=dict)
    rest: arb | None = None

    def __add__(self, other: Surd) -> Surd:
        return add((self, other))

    def __sub__(self, other: Surd) -> Surd:
        return self + other.times(fmpq(-1))

    def __neg__(self) -> Surd:
        return self.times(fmpq(-1))

    def __abs__(self) -> Surd:
        return -self if self.sign() < 0 else self

    def times(self, factor: fmpq) -> Surd:
        """Multiplied by a rational."""
        if factor == 0:
            return NOTHING
        rest = None if self.rest is None else self.rest * factor
        return Surd({n: c * factor for n, c in self.terms.items()}, rest)

    def number(self) -> Number:
        """A rational if it is one that is seen to be, zero if it is zero, else a ball."""
        if self.rest is None and not self.terms.keys() - {1}:
            return self.terms.get(1, ZERO)
        ball = sum((_root(n, ctx.prec) * c for n, c in self.terms.items()), self.rest or arb(0))
        if self.rest is None and ball.contains(0) and self._vanishes():
            return ZERO
        return ball

    def sign(self) -> int:
        """-1, 0 or 1; raises ``Uncertain`` where more precision is needed."""
        number = self.number()
        if number > 0:
            return 1
        if number < 0:
            return -1
        if isinstance(number, arb):
            raise Uncertain(str(number))
        return 0

    def _vanishes(self) -> bool:
        classes: dict[int, fmpq] = {}
        for n, c in self.terms.items():
            for other in classes:
                root = math.isqrt(n * other)
                if root * root == n * other:  # sqrt(n) = root / other * sqrt(other)
                    classes[other] += c * fmpq(root, other)
                    break
            else:
                classes[n] = c
        return not any(c != 0 for c in classes.values())


NOTHING = Surd()


def exact(x: fmpq | int) -> Surd:
    """A rational number."""
    return Surd({1: fmpq(x)}) if x != 0 else NOTHING


def ball(x: Number) -> Surd:
    """A number that is only enclosed."""
    return exact(x) if isinstance(x, fmpq) else Surd({}, x)


def root(x: fmpq) -> Surd:
    """The square root of a rational that is not negative."""
    if x == 0:
        return NOTHING
    p, q = int(x.p), int(x.q)
    n, factor = p * q, fmpq(1, q)
    whole = math.isqrt(n)
    if whole * whole == n:
        return Surd({1: whole * factor})
    for square in _SQUARES:
        while n % square == 0:
            n //= square
            factor *= math.isqrt(square)
    return Surd({n: factor})


def add(surds: Iterable[Surd]) -> Surd:
    """The sum."""
    terms: dict[int, fmpq] = {}
    rest: arb | None = None
    for surd in surds:
        for n, c in surd.terms.items():
            terms[n] = terms.get(n, ZERO) + c
        if surd.rest is not None:
            rest = surd.rest if rest is None else rest + surd.rest
    return Surd({n: c for n, c in terms.items() if c != 0}, rest)


def smaller(a: Surd, b: Surd) -> Surd:
    return b if (a - b).sign() > 0 else a


def larger(a: Surd, b: Surd) -> Surd:
    return a if (a - b).sign() > 0 else b


@functools.lru_cache(maxsize=1 << 16)
def _root(n: int, precision: int) -> arb:
    return arb(n).sqrt()
