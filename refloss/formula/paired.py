"""The reading that writes numbers of float32 in pairs: the sum of two of them, not added up.

A pair has more than twice the digits that a result of float32 needs, and a vector holds twice as
many numbers of float32 as of float64. What counts for a whole row stays a number of float64, in the
*working* arithmetic of `refloss.formula.emitted`; it is taken apart where it meets a pair, and what
multiplies a pair in turn is multiplied before, in float64, all through a loop once.

Nothing here looks after infinities, NaN or numbers far from 1: who uses it finds out whether a row
has any, and computes that one in float64. A number that may be small carries a power of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from llvmlite import ir

from refloss.formula.emitted import (
    NOTHING,
    SINGLE,
    WORKING,
    Code,
    Compared,
    Flag,
    Number,
    factorials,
    is_more,
    is_zero,
)
from refloss.formula.reading import read

PAIRED = replace(WORKING, name="paired")  # what it is where numbers count for a row

FADING = 64  # the power of two that a fading exponential carries: it is above 0 down to 2^-188
FADED = 130.0  # the gap beyond which it counts for nothing
REACH = 4096.0  # the largest logits that it is taken of
EXP_DEGREE = 8
LN2 = float(np.float32(math.log(2)))  # a logit less a multiple of it, where it is small, is exact
LN2_LOW = float(np.float32(math.log(2) - LN2))


class Pair(Compared):
    """(high + low) factor / 2^scale in each lane, low being about what rounding left of high.

    ``low`` is None where the number is one of float32; ``factor``, one of the row's numbers, is
    None for 1.
    """

    __slots__ = ("code", "factor", "high", "logit", "low", "scale")

    def __init__(
        self,
        code: Pairs,
        high: Number,
        low: Number | None = None,
        scale: int = 0,
        factor: Number | None = None,
    ) -> None:
        self.code, self.high, self.low = code, high, low
        self.scale, self.factor = scale, factor
        self.logit: Number | None = None  # of a gap, the logit that is below the top

    def multiplied(self) -> Pair:
        """Without a factor."""
        if self.factor is None:
            return self
        plain = Pair(self.code, self.high, self.low, self.scale)
        return plain.times(self.code.apart(self.factor))

    def at(self, scale: int) -> Pair:
        """The same number, with another power of two and no factor."""
        pair = self.multiplied()
        if pair.scale == scale:
            return pair
        power = self.code.parts.number(2.0 ** (scale - pair.scale))
        low = None if pair.low is None else pair.low * power
        return Pair(self.code, pair.high * power, low, scale)

    def rounded(self) -> Number:
        """The nearest number of float32, nearly."""
        if self.factor is None:
            high = self.high if self.low is None else self.high + self.low
            return self.code.parts.number(high * 2.0**-self.scale)
        factor = self.code.apart(self.factor)
        low, fma = self.code.parts.number(0), self.code.fma
        if factor.low is not None:
            low = self.high * factor.low
        if self.low is not None:
            low = fma(self.low, factor.high, low)
        found = fma(self.high, factor.high, low)
        if self.scale:  # taken off at the end: what is small loses no digits twice
            return self.code.parts.number(found * 2.0**-self.scale)
        # a gap may be infinite
        plain = self.high * factor.high
        kept = self.code.parts.absolute(plain) < math.inf
        return self.code.parts.choose(kept, found, plain)

    def wide(self) -> Number:
        """As a number of float64."""
        parts = [self.high] if self.low is None else [self.high, self.low]
        total: Number = sum(map(self.code.long, parts[1:]), start=self.code.long(parts[0]))
        if self.scale:
            total = total * 2.0**-self.scale
        return self.code.row.number(total if self.factor is None else total * self.factor)

    def _beside(self, other: Any) -> tuple[Pair, Pair]:
        """Both with one power of two and no factor."""
        if isinstance(other, Pair):
            if self.factor is other.factor and self.scale == other.scale:
                return self, other
            scale = max(self.scale, other.scale)
            return self.at(scale), other.at(scale)
        return self.multiplied(), self.code.apart(other, self.scale)

    def __neg__(self) -> Pair:
        low = None if self.low is None else -self.low
        return Pair(self.code, -self.high, low, self.scale, self.factor)

    def __add__(self, other: Any) -> Any:
        if other is NOTHING or is_zero(other):
            return self
        x, y = self._beside(other)
        total = x.high + y.high
        part = total - x.high
        lost = (x.high - (total - part)) + (y.high - part)
        for low in (x.low, y.low):
            lost = lost if low is None else lost + low
        return Pair(self.code, total, lost, x.scale, x.factor)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self if other is NOTHING else self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if other is NOTHING or is_zero(other):
            return other
        if not isinstance(other, Pair):
            other = self.code.row.number(other)
            if other.constant == 1:
                return self
            factor = other if self.factor is None else self.factor * other
            return Pair(self.code, self.high, self.low, self.scale, factor)
        x, y = self.multiplied(), other.multiplied()
        if x.scale and y.scale:  # what is small in one is near 1 in the other
            x, y = x.at(FADING // 2), y.at(FADING // 2)
        return x.times(y)

    __rmul__ = __mul__

    def times(self, other: Pair) -> Pair:
        """The product of two without factors."""
        fma = self.code.fma
        high = self.high * other.high
        low = fma(self.high, other.high, -high)
        if other.low is not None:
            low = fma(self.high, other.low, low)
        if self.low is not None:
            low = fma(self.low, other.high, low)
        return Pair(self.code, high, low, self.scale + other.scale)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Pair):
            raise TypeError("a pair is divided by nothing but a number of its row")
        return self * (1 / self.code.row.number(other))

    def _than(self, relation: str, other: Any) -> Any:
        """By their high parts: which is more of numbers that are near, they do not tell."""
        if is_zero(other) and relation == "==" and self.high.constant is None:
            return IsZero(self.high)
        x, y = self._beside(other)
        return x.high._than(relation, y.high)


class IsZero(Flag):
    """Whether a number is 0, of which it is known."""

    __slots__ = ("number",)

    def __init__(self, number: Number) -> None:
        found = number == 0
        super().__init__(found.code, found.value, found.steady)
        self.number = number


def is_multiple(x: Any, condition: Any) -> bool:
    """Whether it is a multiple of what is asked to be 0."""
    known = isinstance(x, Pair) and isinstance(condition, IsZero)
    return known and x.high is condition.number


class Pairs:
    """The place where instructions on pairs are written, beside the code for a row's numbers."""

    def __init__(self, row: Code) -> None:
        self.row = row
        self.parts = Code(row.builder, SINGLE, cuda=False, lanes=row.lanes)
        self.factor: Number | None = None  # of exponentials, once it is known what they refer to

    def fma(self, x: Number, y: Any, z: Any) -> Number:
        """x y + z, rounded once."""
        return self.parts.intrinsic("fma", x, self.parts.number(y), self.parts.number(z))

    def exact(self, value: Any) -> Pair:
        """A value of LLVM that is one of float32."""
        return Pair(self, Number(self.parts, value))

    def apart(self, x: Any, scale: int = 0) -> Pair:
        """A number of the row as a pair."""
        x = self.row.number(x)
        if x.constant is not None:
            return self._constant(x.constant * 2.0**scale, scale)
        if scale:
            x = x * 2.0**scale
        high = self._short(x)
        return Pair(self, high, self._short(x - self.long(high)), scale)

    def _constant(self, x: float, scale: int) -> Pair:
        high = float(np.float32(x))
        low = float(np.float32(x - high)) if math.isfinite(high) else 0.0
        parts = self.parts.number
        return Pair(self, parts(high), parts(low) if low else None, scale)

    def _short(self, x: Number) -> Number:
        kind = self.row.shaped(ir.FloatType(), x.value)
        return Number(self.parts, self.row.builder.fptrunc(x.value, kind), steady=x.steady)

    def long(self, x: Number) -> Number:
        """A number of float32 as one of the row."""
        kind = self.row.shaped(ir.DoubleType(), x.value)
        return Number(self.row, self.row.builder.fpext(x.value, kind), steady=x.steady)

    def choose(self, condition: Flag, chosen: Any, otherwise: Any) -> Pair:
        """One of two, without a jump; at least one is a pair, or the condition is one of pairs."""
        if condition.code is self.row and is_zero(otherwise) and isinstance(chosen, Pair):
            before = self.row.number(1) if chosen.factor is None else chosen.factor
            taken = self.row.choose(condition, before, self.row.number(0))
            return Pair(self, chosen.high, chosen.low, chosen.scale, taken)
        x, y, factor = self._alike(chosen, otherwise)
        high = self.parts.choose(condition, x.high, y.high)
        low = None
        if x.low is not None or y.low is not None:
            zero = self.parts.number(0)
            lows = (zero if one.low is None else one.low for one in (x, y))
            low = self.parts.choose(condition, *lows)
        return Pair(self, high, low, x.scale, factor)

    def _alike(self, *arms: Any) -> tuple[Pair, Pair, Number | None]:
        """Two numbers with one power of two, and the factor that they have."""
        pairs = [x for x in arms if isinstance(x, Pair)]
        if len(pairs) == 1 and any(map(is_zero, arms)):
            one, zero = pairs[0], self.parts.number(0)
            nothing = Pair(self, zero, None, one.scale)
            x, y = (one if isinstance(x, Pair) else nothing for x in arms)
            return x, y, one.factor
        scale = max((one.scale for one in pairs), default=0)
        x, y = (x.at(scale) if isinstance(x, Pair) else self.apart(x, scale) for x in arms)
        return x, y, None

    def refer_to(self, top: Number) -> None:
        """From now on exponentials are taken of logits that are at most this.

        They are 2^-k e^z with k near top / ln 2, which needs no difference of logits; ``factor``
        makes e^-(top - z) of them, and ``in_reach`` tells whether they are right.
        """
        row, builder = self.row, self.row.builder
        self.in_reach = row.absolute(top) <= REACH
        nearest = row.intrinsic("rint", top * (1 / math.log(2)))
        nearest = row.choose(self.in_reach, nearest, row.number(0))
        self.drift = self._short(nearest * LN2_LOW)
        whole = builder.fptosi(nearest.value, self.row.shaped(ir.IntType(32), top.value))
        power = builder.sub(self.parts.integer(SINGLE.bias + FADING, whole), whole)
        self.lift = builder.shl(power, self.parts.integer(SINGLE.shift, whole))
        self.lowest = self._short(top - FADED)
        self.factor = 1 / self._exponential(self._short(top)).wide()

    def fading(self, gap: Pair) -> Pair:
        """e^-gap for a gap below the top."""
        assert gap.logit is not None
        # a NaN is there as well
        values = self.parts.together(gap.logit.value, self.lowest.value)
        there = Flag(self.parts, self.row.builder.fcmp_unordered(">", *values))
        pair = self._exponential(gap.logit)
        assert pair.low is not None
        zero = self.parts.number(0)
        high, low = (self.parts.choose(there, one, zero) for one in (pair.high, pair.low))
        return Pair(self, high, low, FADING, self.factor)

    def _exponential(self, z: Number) -> Pair:
        parts, builder, fma = self.parts, self.row.builder, self.fma
        shifted = fma(z, 1 / math.log(2), SINGLE.magic)
        n = shifted - SINGLE.magic
        r = fma(-n, LN2, z)
        low = fma(n, -LN2_LOW, self.drift)
        q = self._series(factorials(EXP_DEGREE)[2:], r)
        # e^r (1 + low): 1 + r and what is left, then its nearest number and what is left
        first = 1 + r
        rest = fma(q, r * r, r - (first - 1))
        high = first + rest
        rest = fma(high, low, rest - (high - first))
        bits = parts.bits(shifted)
        bits, lift = parts.together(bits, self.lift)
        power = builder.add(builder.shl(bits, parts.integer(SINGLE.shift, bits)), lift)
        size = parts.of_bits(power)
        return Pair(self, high * size, rest * size, FADING)

    def _series(self, coefficients: Sequence[float], x: Number) -> Number:
        """A polynomial, its halves side by side."""
        terms: list[Any] = list(coefficients)
        power = x
        while len(terms) > 1:
            terms = [
                self.fma(power, terms[k + 1], terms[k]) if k + 1 < len(terms) else terms[k]
                for k in range(0, len(terms), 2)
            ]
            power = power * power
        return self.parts.number(terms[0])


def meaning(code: Pairs, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What each word means where there are pairs; ``row`` tells what it means elsewhere."""

    def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
        arms = (chosen, otherwise)
        if isinstance(condition, bool):
            return chosen if condition else otherwise
        if any(x is NOTHING for x in arms) and not is_more(*arms):
            return NOTHING
        if is_zero(chosen) and is_multiple(otherwise, condition):
            return otherwise
        if is_zero(chosen) and is_zero(otherwise):
            return code.row.number(0)
        if condition.code is code.row and not any(isinstance(x, Pair) for x in arms):
            return row["where"](condition, chosen, otherwise)
        return code.choose(condition, *(0 if x is NOTHING else x for x in arms))

    def product(mass: Any, x: Any) -> Any:
        is_probability = isinstance(mass, Pair) and mass.scale and mass.factor is not None
        if is_probability or not isinstance(x, Pair):
            return mass * x  # nothing infinite is there
        mass = mass.multiplied() if isinstance(mass, Pair) else code.row.number(mass)
        return where(mass == 0, 0, mass * x)

    def gap(z: Pair, top: Pair, is_top: Any, temperature: Any) -> Pair:
        assert code.row.number(temperature).constant == 1
        found: Pair = top - z  # 0 at the top, where it is finite
        assert found.low is not None
        kept = found.high < math.inf
        found.low = code.parts.choose(kept, found.low, code.parts.number(0))
        found.logit = z.high
        return found

    def poisoned(x: Any, touched: Any) -> Any:
        return x  # a row with a NaN is not computed here

    def of_pairs(word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def either(*given: Any) -> Any:
            in_pairs = any(isinstance(x, Pair) for x in given)
            return (function if in_pairs else row[word])(*given)

        return either

    return {
        **row,
        "where": where,
        "poisoned": poisoned,
        "product": of_pairs("product", product),
        "gap": gap,
        "exp_error": lambda x: NOTHING,
        "fading": of_pairs("fading", code.fading),
    }


def reader(code: Pairs, row: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Formulas as they are read of pairs, where there is one among their numbers."""
    words = meaning(code, row)

    def reading(formula: Any) -> Any:
        plain = read(formula, row)
        paired = words.get(formula.__name__) or read(formula, words)

        def either(*given: Any) -> Any:
            return (paired if any(isinstance(x, Pair) for x in given) else plain)(*given)

        return either

    return reading
