"""The vocabulary that formulas are written in.

A formula is a plain Python function of numbers: operators, comparisons, whole-number literals and
the words below. It never mentions NumPy, Numba, CuPy or SymPy; a *reading* gives the words their
meaning in one number system (`refloss.formula.reading`). Called as they stand, the words are
double-precision scalars in pure Python, which is slow and handy for trying a formula out.

Rules that keep a formula true in every reading:

* literals are whole numbers (``r * r / 2``, never ``0.5 * r * r``), exact everywhere;
* branches are ``where``, never ``if``; a comparison sends NaN to the second arm, so the arm
  that keeps NaN stands second;
* no ``max`` or ``min``: they drop NaN on some machines;
* a formula need not carry the NaN of an argument: what evaluates it lets that NaN through.
"""

import math
from typing import Any

INFINITY = math.inf


def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
    """``chosen`` where the condition holds, else ``otherwise``."""
    return chosen if condition else otherwise


def absolute(x: Any) -> Any:
    """|x|."""
    return abs(x)


def exp(x: Any) -> Any:
    """e^x."""
    return math.exp(x) if x < 709.782712893384 else (math.inf if x == x else x)


def exp_error(x: Any) -> Any:
    """e^x - exp(x), as far as the reading knows it: 0 over the reals."""
    return 0.0


def expm1(x: Any) -> Any:
    """e^x - 1, to full relative accuracy near 0."""
    return math.expm1(x) if x < 709.782712893384 else (math.inf if x == x else x)


def log(x: Any) -> Any:
    """The natural logarithm; -inf at 0."""
    if x > 0 or x != x:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def log1p(x: Any) -> Any:
    """log(1 + x), to full relative accuracy near 0; -inf at -1."""
    if x > -1 or x != x:
        return math.log1p(x)
    return -math.inf if x == -1 else math.nan


def power(x: Any, exponent: Any) -> Any:
    """x^exponent for x >= 0 and exponent >= 0, with 0^0 = 1."""
    return math.nan if x != x else x**exponent


def sqrt(x: Any) -> Any:
    """The square root of x >= 0."""
    return math.sqrt(x) if x >= 0 else math.nan


def product(mass: Any, x: Any) -> Any:
    """mass * x, where a mass of zero silences whatever it multiplies: 0 * inf = 0."""
    return mass if mass == 0 else mass * x


def quotient(mass: Any, x: Any) -> Any:
    """mass / x, where a mass of zero silences a zero x: 0 / 0 = 0."""
    if mass == 0:
        return mass
    if x != 0 or mass != mass:
        return mass / x if x != 0 else mass
    return math.copysign(math.inf, mass) * math.copysign(1.0, x)


def sum_error(x: Any, y: Any) -> Any:
    """(x + y) minus the rounded x + y: what the addition lost. 0 over the reals."""
    total = x + y
    if not math.isfinite(total):
        return 0.0
    y_part = total - x
    return (x - (total - y_part)) + (y - y_part)


def product_error(x: Any, y: Any) -> Any:
    """x * y minus the rounded x * y: what the multiplication lost. 0 over the reals."""
    from fractions import Fraction

    rounded = x * y
    if not math.isfinite(rounded):
        return 0.0
    return float(Fraction(x) * Fraction(y) - Fraction(rounded))


WORDS = (
    where,
    absolute,
    exp,
    exp_error,
    expm1,
    log,
    log1p,
    power,
    sqrt,
    product,
    quotient,
    sum_error,
    product_error,
)
