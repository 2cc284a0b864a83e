"""The four floating-point formats, in exact rational arithmetic.

Inputs of oracle rows are drawn here, so that they are exactly representable where they claim to
be, on every machine, without NumPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary format of `precision` bits and exponents `emin` to `emax` of the leading bit."""

    name: str
    precision: int
    emin: int
    emax: int

    @property
    def tiny(self) -> float:
        """Smallest positive number, a subnormal."""
        return math.ldexp(1.0, self.emin - self.precision + 1)

    @property
    def smallest_normal(self) -> float:
        return math.ldexp(1.0, self.emin)

    @property
    def largest(self) -> float:
        return math.ldexp(2.0 - math.ldexp(1.0, 1 - self.precision), self.emax)

    @property
    def eps(self) -> float:
        return math.ldexp(1.0, 1 - self.precision)

    def spacing(self, x: float) -> Fraction:
        """Distance to the neighbour of `x` away from zero."""
        exponent = max(math.frexp(x)[1] - 1, self.emin) if x else self.emin
        return Fraction(2) ** (exponent - self.precision + 1)

    def holds(self, x: float) -> bool:
        """Whether `x` is a number of this format (NaN and infinities are)."""
        if not math.isfinite(x):
            return True
        return abs(x) <= self.largest and (Fraction(x) / self.spacing(x)).denominator == 1

    def nearest(self, x: float) -> float:
        """`x` rounded to nearest, ties to even; beyond the largest number, the largest."""
        if not math.isfinite(x):
            return x
        step = self.spacing(x)
        near = float(round(Fraction(x) / step) * step)
        return math.copysign(min(abs(near), self.largest), x)

    def up(self, x: float) -> float:
        """The next number above."""
        if x < 0:
            return -self.down(-x)
        return float(Fraction(x) + self.spacing(x))

    def down(self, x: float) -> float:
        """The next number below."""
        if x <= 0:
            return -self.up(-x)
        mantissa, _ = math.frexp(x)
        step = self.spacing(x)
        if mantissa == 0.5 and x > self.smallest_normal:
            step /= 2
        return float(Fraction(x) - step)


FLOAT16 = Format("float16", 11, -14, 15)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT32 = Format("float32", 24, -126, 127)
FLOAT64 = Format("float64", 53, -1022, 1023)
FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
