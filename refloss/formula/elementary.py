"""e^x and log x in arithmetic alone, so that LLVM turns a loop over them into vector code.

Both are series whose remainder is bounded in closed form; `python -m derivations prove` shows
the bounds with ball arithmetic. What rounding adds on top is measured by the tests.

* ``exp``: x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor series of e^r to degree 13, whose
  remainder is below 2^-57 of e^r. The sum is kept as a pair, so ``exp_error`` can tell what the
  result lost.
* ``log``: x = 2^k m with m in [sqrt(1/2), sqrt(2)), then the series of 2 atanh(s) with
  s = (m - 1) / (m + 1), |s| <= 0.172, to s^23; the remainder is below 2^-60 of log m.

References: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980 (the
two-part ln 2); T. J. Dekker, Numerische Mathematik 18, 1971 (sums kept as pairs).
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

EXP_DEGREE = 13
ATANH_DEGREE = 23

# The largest error of exp, expm1, log and log1p, and that of exp + exp_error in ulps of exp.
PROMISED_ULP = 1.0
PROMISED_PAIR_ULP = 0.125

# ln 2 = LN2_HIGH + LN2_LOW; n * LN2_HIGH is exact for |n| < 2^11, since 11 trailing bits are zero.
LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")
LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
LOG2_E = 1 / math.log(2)
SQRT_HALF = math.sqrt(0.5)

_FACTORIALS = tuple(float(Fraction(1, math.factorial(k))) for k in range(EXP_DEGREE + 1))
_E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11, _E12, _E13 = _FACTORIALS[2:]
_A3, _A5, _A7, _A9, _A11, _A13, _A15, _A17, _A19, _A21, _A23 = (
    float(Fraction(2, k)) for k in range(3, ATANH_DEGREE + 1, 2)
)

_MANTISSA = np.int64((1 << 52) - 1)
_ONE_BITS = np.int64(1023 << 52)
_SMALLEST_NORMAL = 2.0**-1022


@intrinsic
def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), build


@intrinsic
def select(context: Any, condition: Any, chosen: Any, otherwise: Any) -> Any:
    """One of two numbers, without a branch: ``a if c else b`` would keep loops scalar."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flag = context.cast(builder, arguments[0], types.boolean, types.boolean)
        return builder.select(flag, arguments[1], arguments[2])

    kind = types.int64 if isinstance(chosen, types.Integer) else types.float64
    if isinstance(otherwise, types.Float):
        kind = types.float64
    return kind(types.boolean, kind, kind), build


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), build


@intrinsic
def _bits_of_float(context: Any, x: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


@njit(error_model="numpy", forceinline=True)
def two_sum(x: float, y: float) -> tuple[float, float]:
    """(rounded x + y, what it lost); nothing is lost to an infinity."""
    total = x + y
    y_part = total - x
    lost = (x - (total - y_part)) + (y - y_part)
    return total, select(abs(total) < math.inf, lost, 0.0)


@njit(error_model="numpy", forceinline=True)
def _exp_parts(x: float) -> tuple[float, float, float]:
    """(n, t, l) with e^x = 2^n (1 + t + l): n whole, |t| < 0.42, |l| <= ulp(t)."""
    inside = select(x < 710.0, x, 710.0)
    inside = select(inside > -746.0, inside, -746.0)
    inside = select(x == x, inside, 0.0)  # a conversion of NaN to an integer is undefined
    n = np.rint(inside * LOG2_E)
    r = fma(-n, LN2_HIGH, inside)  # exact
    r_low = -n * LN2_LOW
    s = r + r_low
    s_low = (r - s) + r_low
    p = fma(_E13, s, _E12)
    p = fma(p, s, _E11)
    p = fma(p, s, _E10)
    p = fma(p, s, _E9)
    p = fma(p, s, _E8)
    p = fma(p, s, _E7)
    p = fma(p, s, _E6)
    p = fma(p, s, _E5)
    p = fma(p, s, _E4)
    p = fma(p, s, _E3)
    p = fma(p, s, _E2)
    q = p * (s * s)
    t = s + q
    return n, t, ((s - t) + q) + s_low * (1.0 + t)


@njit(error_model="numpy", forceinline=True)
def _power_of_two(n: int) -> float:
    """2^n for -1023 < n < 1024."""
    return _float_of_bits((n + 1023) << 52)


@njit(error_model="numpy", forceinline=True)
def exp(x: float) -> float:
    n, t, low = _exp_parts(x)
    half = np.int64(n) >> 1  # in two steps, since 2^n may be out of range where e^x is not
    high = 1.0 + t
    high += ((1.0 - high) + t) + low
    y = (high * _power_of_two(half)) * _power_of_two(np.int64(n) - half)
    return select(x == x, y, x)


@njit(error_model="numpy", forceinline=True)
def exp_error(x: float) -> float:
    n, t, low = _exp_parts(x)
    high = 1.0 + t
    rest = ((1.0 - high) + t) + low
    lost = (high - (high + rest)) + rest
    inside = abs(x) < 700.0
    return select(inside, lost * _power_of_two(np.int64(n)), 0.0)


@njit(error_model="numpy", forceinline=True)
def expm1(x: float) -> float:
    n, t, low = _exp_parts(x)
    half = np.int64(n) >> 1
    a, b = _power_of_two(half), _power_of_two(np.int64(n) - half)
    # n = 0 keeps t to full relative accuracy; elsewhere 2^n - 1 and 2^n t are of one size
    whole = a - 1.0 / b
    y = whole + a * t
    y = (y + (((whole - y) + a * t) + a * low)) * b
    y = select(n != 0.0, y, t + low)
    y = select(x < 710.0, y, math.inf)
    return select((x == x) & (x != 0.0), y, x)


@njit(error_model="numpy", forceinline=True)
def _log_sum(high: float, low: float, shift: int) -> float:
    """log((high + low) / 2^shift) for normal high > 0 and |low| <= ulp(high)."""
    bits = _bits_of_float(high)
    k = (bits >> 52) - 1023
    m = _float_of_bits((bits & _MANTISSA) | _ONE_BITS)
    halve = m > 2 * SQRT_HALF
    m = select(halve, 0.5 * m, m)
    k = select(halve, k + 1, k)
    f = m - 1.0  # exact
    n = np.float64(k - shift)
    s = f / (2.0 + f)
    z = s * s
    r = fma(_A23, z, _A21)
    r = fma(r, z, _A19)
    r = fma(r, z, _A17)
    r = fma(r, z, _A15)
    r = fma(r, z, _A13)
    r = fma(r, z, _A11)
    r = fma(r, z, _A9)
    r = fma(r, z, _A7)
    r = fma(r, z, _A5)
    r = fma(r, z, _A3)
    r = r * z
    half_square = 0.5 * f * f
    # log m = f - f^2/2 + s (f^2/2 + R): the large part f stays exact to the end
    correction = fma(n, LN2_LOW, low / high)
    inner = fma(s, half_square + r, correction)
    return n * LN2_HIGH - ((half_square - inner) - f)


@njit(error_model="numpy", forceinline=True)
def log(x: float) -> float:
    subnormal = x < _SMALLEST_NORMAL
    y = _log_sum(select(subnormal, x * 2.0**54, x), 0.0, select(subnormal, 54, 0))
    y = select(x < math.inf, y, x)
    y = select(x > 0.0, y, select(x == 0.0, -math.inf, math.nan))
    return select(x == x, y, x)


@njit(error_model="numpy", forceinline=True)
def log1p(x: float) -> float:
    u = 1.0 + x
    part = u - 1.0
    y = _log_sum(u, (1.0 - (u - part)) + (x - part), 0)
    y = select(x < math.inf, y, x)
    y = select(x > -1.0, y, select(x == -1.0, -math.inf, math.nan))
    return select((x == x) & (x != 0.0), y, x)
