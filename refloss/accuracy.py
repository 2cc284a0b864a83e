"""How far a computed number is from the true one: the one place that compares numbers.

The truth is a real number, known to 80 bits; the error is a real number too, counted in units in
the last place of the format the answer is given in:

    error = |computed - truth| / ulp(truth)

where ``ulp(truth)`` is the distance between neighbouring floats in the truth's binade, and the
smallest subnormal where the truth is below the normal range. ``nan`` against ``nan`` is no error;
``nan`` against a number, and a number against an infinity that is exact, are infinite errors.
An answer that overflows stands at the first power of two past the largest float, so that overflow
one ulp early costs one ulp and not everything.

Where terms of opposite sign cancel, the truth comes with a *scale*, the size of the largest term,
and the error is counted in ulps of that. At a kink the truth is an interval, and every member of it
is right; where it reaches from -inf to inf there is no answer, and every number is right that is
one: neither NaN nor an infinity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import IntEnum
from math import ldexp
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FORMATS",
    "Answer",
    "Format",
    "Grade",
    "Truth",
    "distance",
    "measure",
    "rounded",
    "ulp_error",
]

Floats = NDArray[np.float64]


class Grade(IntEnum):
    """What an answer is worth, from best to worst."""

    CORRECTLY_ROUNDED = 0
    FAITHFUL = 1
    ACCURATE = 2
    CONVENTION = 3
    LOSES_DIGITS = 4
    REJECTS = 5
    WRONG = 6
    CRASHED = 7

    @property
    def label(self) -> str:
        """The grade in words, as reports print it."""
        return self.name.lower().replace("_", " ")

    @classmethod
    def parse(cls, text: str) -> Grade:
        """Read a grade as people type it: ``wrong``, ``loses-digits``, ``"loses digits"``."""
        try:
            return cls[text.strip().upper().replace(" ", "_").replace("-", "_")]
        except KeyError:
            known = ", ".join(grade.label for grade in cls)
            raise ValueError(f"unknown grade {text!r}; the grades are {known}") from None


class Format(NamedTuple):
    """A binary floating-point format, and the error up to which its answers count as accurate.

    ``accurate`` leaves 20 of float32's 24 bits and 49 of float64's 53; the short formats have none
    to give away: 9 of float16's 11 bits, 7 of bfloat16's 8.
    """

    dtype: np.dtype[Any]
    precision: int
    smallest_exponent: int
    largest_exponent: int
    accurate: float

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return ldexp(2.0 - ldexp(1.0, 1 - self.precision), self.largest_exponent)


FORMATS: dict[str, Format] = {
    "float16": Format(np.dtype(np.float16), 11, -14, 15, 4.0),
    "bfloat16": Format(np.dtype(ml_dtypes.bfloat16), 8, -126, 127, 2.0),
    "float32": Format(np.dtype(np.float32), 24, -126, 127, 16.0),
    "float64": Format(np.dtype(np.float64), 53, -1022, 1023, 16.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Real numbers known to 80 bits, elementwise ``(high + low) * 2**exponent``.

    ``1 <= |high| <= 2`` for a finite number that is not zero, ``low`` is what its 53 bits could not
    hold, and the exponent is unlimited: 2**-5000 is a number like any other. ``high`` alone carries
    zeros, infinities and NaN.
    """

    high: Floats
    low: Floats
    exponent: NDArray[np.int64]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Truth:
        """Read hexadecimal numbers of any length, ``inf``, ``-inf`` and ``nan``."""
        parts = [_parse(entry) for entry in entries]
        high, low, exponent = zip(*parts, strict=True) if parts else ((), (), ())
        return cls(np.array(high, float), np.array(low, float), np.array(exponent, np.int64))

    @classmethod
    def of(cls, numbers: Any) -> Truth:
        """Take floats (of at most float64's precision) for exact; flattens them in C order."""
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            floats = np.asarray(numbers).astype(np.float64).ravel()
        zero_or_not_finite = (floats == 0) | ~np.isfinite(floats)
        mantissa, exponent = np.frexp(np.where(zero_or_not_finite, 0.0, floats))
        return cls(
            np.where(zero_or_not_finite, floats, 2.0 * mantissa),
            np.zeros_like(floats),
            np.where(zero_or_not_finite, 0, exponent.astype(np.int64) - 1),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Truth]) -> Truth:
        """Join several into one."""
        if not parts:
            return cls.parse(())
        return cls(
            np.concatenate([part.high for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.exponent for part in parts]),
        )

    def where(self, condition: NDArray[np.bool_], other: Truth) -> Truth:
        """Own entries where the condition holds, the other's elsewhere."""
        return Truth(
            np.where(condition, self.high, other.high),
            np.where(condition, self.low, other.low),
            np.where(condition, self.exponent, other.exponent),
        )

    def decimal(self, index: int) -> str:
        """One entry in decimal: the shortest text of its float64, 17 digits outside its range."""
        high, low = float(self.high[index]), float(self.low[index])
        exponent = int(self.exponent[index])
        if high == 0 or not np.isfinite(high):
            return repr(high)
        if FORMATS["float64"].smallest_exponent <= exponent < 1023:
            entry = np.array([index])
            one = Truth(self.high[entry], self.low[entry], self.exponent[entry])
            return repr(float(rounded(one, "float64")[0]))
        wide = Context(prec=60, Emin=-999_999_999, Emax=999_999_999)
        power = wide.power(Decimal(2), Decimal(exponent))
        exact = wide.multiply(wide.add(Decimal(high), Decimal(low)), power)
        return f"{exact:.16e}"

    def __len__(self) -> int:
        return len(self.high)


def _parse(text: str) -> tuple[float, float, int]:
    mantissa, power, binary_exponent = text.partition("p")
    if not power:
        return float(text), 0.0, 0  # inf, -inf, nan
    sign, _, digits = mantissa.partition("0x")
    whole, _, fraction = digits.partition(".")
    number = int(whole + fraction, 16)
    if number == 0:
        return 0.0, 0.0, 0
    exponent = number.bit_length() - 1
    high = float(number)
    low = ldexp(float(number - int(high)), -exponent)
    high = ldexp(high, -exponent)
    if sign == "-":
        high, low = -high, -low
    return high, low, exponent + int(binary_exponent) - 4 * len(fraction)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The true answers to one question: a flat array of numbers, intervals or both.

    ``upper`` differs from ``lower`` where every number between the two is right. ``scale`` is NaN
    where the error is counted in ulps of the truth itself.
    """

    lower: Truth
    upper: Truth
    scale: Truth | None = None

    @classmethod
    def concatenate(cls, parts: Sequence[Answer]) -> Answer:
        """Join several into one."""
        scale = None
        if any(part.scale is not None for part in parts):
            scale = Truth.concatenate(
                [part.scale or Truth.of(np.full(len(part), np.nan)) for part in parts]
            )
        lower = Truth.concatenate([part.lower for part in parts])
        if all(part.upper is part.lower for part in parts):
            return cls(lower, lower, scale)
        return cls(lower, Truth.concatenate([part.upper for part in parts]), scale)

    def decimal(self, index: int) -> str:
        """One entry in decimal; ``[lower, upper]`` where it is an interval."""
        lower, upper = self.lower.decimal(index), self.upper.decimal(index)
        return lower if lower == upper else f"[{lower}, {upper}]"

    def __len__(self) -> int:
        return len(self.lower)


def rounded(truth: Truth, dtype: str) -> Floats:
    """The truth rounded once to the nearest float of a format, ties to even.

    Returned in float64, which holds every float of every format. (Going through a wider format on
    the way would round twice: float64 to bfloat16 by way of float32 is wrong once in 2**17.)
    """
    form = FORMATS[dtype]
    unit = _unit(form, truth)
    with np.errstate(all="ignore"):
        units = _scaled(truth.high, truth.exponent - unit)
        rest = _scaled(truth.low, truth.exponent - unit)
        below = np.floor(units)
        # Exact next to a tie (Sterbenz), and of the right sign everywhere else.
        past_middle = (units - below - 0.5) + rest
        up = (past_middle > 0) | ((past_middle == 0) & (np.mod(below, 2) == 1))
        nearest = _scaled(below + up, unit)
        nearest = np.where(np.abs(nearest) > form.largest, np.copysign(np.inf, nearest), nearest)
    return np.where(np.isfinite(truth.high), nearest, truth.high)


def ulp_error(computed: Any, answer: Answer | Truth, dtype: str) -> Floats:
    """The error of each computed number, in units in the last place.

    Parameters
    ----------
    computed : array_like
        Numbers of the given format, flat or in any shape; read in C order.
    answer : Answer or Truth
        What is true, as many entries.
    dtype : str
        The format: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    """
    return measure(computed, answer, dtype)[0]


def measure(
    computed: Any, answer: Answer | Truth, dtype: str, accurate: float | None = None
) -> tuple[Floats, NDArray[np.uint8]]:
    """Error and grade of each computed number.

    *Correctly rounded* is the truth rounded to the format, *faithful* within 1 ulp of the truth,
    *accurate* within the format's bound (or the one given). Beyond that an answer *loses digits*
    as long as its leading bit is still right, and is *wrong* when

    * it is NaN where the truth is not, or the other way round;
    * it is infinite where the truth rounds to a finite number, or the other way round;
    * its error is at least half the truth, as that of a wrong sign is, or of 0 for a number that is
      not. Where there is a scale, rounding may do as much; it does not explain an error that is
      also half the scale, or takes more than half of the digits that the scale leaves. A truth
      below the normal range may be flushed to zero: nothing is wrong until the error reaches the
      smallest normal number.

    A number computed in another format is rounded to this one first.
    """
    if isinstance(answer, Truth):
        answer = Answer(answer, answer)
    form = FORMATS[dtype]
    bound = form.accurate if accurate is None else accurate
    numbers = _in_format(computed, dtype)
    lower, upper, scale = answer.lower, answer.upper, answer.scale

    from_lower, size = _signed_error(numbers, lower, scale, form)
    correct = _same(numbers, rounded(lower, dtype))
    error = np.abs(from_lower)
    nearest = rounded(lower, dtype)
    if upper is not lower:
        from_upper, upper_size = _signed_error(numbers, upper, scale, form)
        interval = (upper.high != lower.high) | (upper.low != lower.low)
        interval |= upper.exponent != lower.exponent
        inside = interval & (from_lower >= 0) & (from_upper <= 0)
        error = np.where(inside, 0.0, np.minimum(error, np.abs(from_upper)))
        # An end at infinity is no measure of what is near the other one.
        size, upper_size = (np.where(np.isinf(one), 0.0, one) for one in (size, upper_size))
        size = np.maximum(size, upper_size)
        correct |= inside | _same(numbers, rounded(upper, dtype))
        no_number = _everything(lower, upper) & ~np.isfinite(numbers)
        error = np.where(no_number, np.inf, error)
        correct &= ~no_number
        nearest = np.where(np.abs(from_upper) < np.abs(from_lower), rounded(upper, dtype), nearest)

    error = np.where(np.isnan(error), np.inf, error)
    error = np.where(np.isnan(numbers) & np.isnan(lower.high), 0.0, error)
    smallest_normal = _scaled(np.ones(1), form.smallest_exponent - _unit(form, lower, scale))
    beyond = error >= np.maximum(size / 2, smallest_normal)
    beyond |= np.isinf(error) | (np.isinf(numbers) != np.isinf(nearest))

    grade = np.where(beyond, Grade.WRONG, Grade.LOSES_DIGITS)
    grade = np.where(error <= bound, Grade.ACCURATE, grade)
    grade = np.where(error <= min(1.0, bound), Grade.FAITHFUL, grade)
    grade = np.where(correct, Grade.CORRECTLY_ROUNDED, grade)
    return error, grade.astype(np.uint8)


def distance(first: Any, second: Any, dtype: str, answer: Answer | None = None) -> Floats:
    """How far two computed numbers are from each other, in units in the last place.

    It counts in the unit in which ``measure`` counts the error of either: that of the truth, or of
    the scale where terms cancel. Where there is no answer, or an answer that is not finite, it is
    the unit of the larger of the two numbers. NaN is no distance from NaN, and -0 none from 0; an
    infinity stands at the first power of two past the largest float, unless the truth is infinite.

    Parameters
    ----------
    first, second : array_like
        Numbers of the given format, flat or in any shape; read in C order.
    dtype : str
        The format.
    answer : Answer, optional
        What is true, as many entries.
    """
    form = FORMATS[dtype]
    numbers = _in_format(first, dtype), _in_format(second, dtype)
    unit = _unit(form, Truth.of(np.fmin(np.fmax(*np.abs(numbers)), form.largest)))
    infinite = np.zeros(len(unit), bool)
    if answer is not None:
        infinite = np.isinf(answer.lower.high)
        known = np.isfinite(answer.lower.high)
        unit = np.where(known, _unit(form, answer.lower, answer.scale), unit)
    with np.errstate(all="ignore"):
        overflow = _scaled(np.ones(1), form.largest_exponent + 1 - unit)
        one, other = (
            np.where(np.isinf(x), np.copysign(overflow, x), _scaled(x, -unit)) for x in numbers
        )
        apart = np.abs(one - other)
    apart[np.isnan(apart) | (infinite & (np.isinf(numbers[0]) != np.isinf(numbers[1])))] = np.inf
    return np.where(_same(*numbers), 0.0, apart)


def _everything(lower: Truth, upper: Truth) -> NDArray[np.bool_]:
    """Whether the interval is the whole line."""
    return np.asarray((lower.high == -np.inf) & (upper.high == np.inf), bool)


def _in_format(computed: Any, dtype: str) -> Floats:
    array = np.asarray(computed).ravel()
    numbers = array.astype(np.float64)
    return numbers if array.dtype == FORMATS[dtype].dtype else rounded(Truth.of(numbers), dtype)


def _same(numbers: Floats, nearest: Floats) -> NDArray[np.bool_]:
    return np.asarray((numbers == nearest) | (np.isnan(numbers) & np.isnan(nearest)), bool)


def _signed_error(
    numbers: Floats, truth: Truth, scale: Truth | None, form: Format
) -> tuple[Floats, Floats]:
    """(computed - truth) in ulps, and the size of what the error is relative to, in ulps."""
    unit = _unit(form, truth, scale)
    overflow = _scaled(np.ones(1), form.largest_exponent + 1 - unit)
    with np.errstate(all="ignore"):
        high = _scaled(truth.high, truth.exponent - unit)
        low = _scaled(truth.low, truth.exponent - unit)
        past_overflow = np.isfinite(truth.high) & (truth.exponent > form.largest_exponent)
        high = np.where(past_overflow, np.copysign(overflow, truth.high), high)
        low = np.where(past_overflow, 0.0, low)
        given = _scaled(numbers, -unit)
        early = np.isinf(numbers) & np.isfinite(truth.high)
        given = np.where(early, np.copysign(overflow, numbers), given)
        error = (given - high) - low
        error = np.where(given == high, -low, error)  # inf - inf
        size = np.abs(high)
        if scale is not None:
            scale_size = np.abs(_scaled(scale.high, scale.exponent - unit))
            no_rounding = np.maximum(size, ldexp(1.0, form.precision // 2 + 1))
            size = np.where(np.isnan(scale_size), size, np.minimum(scale_size, no_rounding))
    return error, size


def _unit(form: Format, truth: Truth, scale: Truth | None = None) -> NDArray[np.int64]:
    """The exponent of one ulp of the truth, or of the scale where there is one."""
    reference = truth
    if scale is not None:
        reference = truth.where(np.isnan(scale.high) | ~np.isfinite(truth.high), scale)
    low = np.where(reference.high == 0, form.smallest_exponent, reference.exponent)
    binade = np.clip(low, form.smallest_exponent, form.largest_exponent)
    return np.asarray(binade - (form.precision - 1), dtype=np.int64)


def _scaled(numbers: Floats, exponent: NDArray[np.int64]) -> Floats:
    """``numbers * 2**exponent``, for exponents that an int32 might not hold."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(numbers, np.clip(exponent, -100_000, 100_000).astype(np.int32))
