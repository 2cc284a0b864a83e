"""Bounds: where a formula approximates, by how much at most, enclosed by ball arithmetic.

The polynomials are taken from the code that runs, by running it on symbols, with the rounded
coefficients that it has. What the rounding of its operations adds is not bounded here; the tests
measure it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import sympy
from flint import arb, ctx, fmpq
from sympy import Expr, Float, Poly, Rational, Symbol

from derivations.algebra import Algebra
from derivations.explorer import Path
from derivations.facts import Facts
from derivations.obligations import BOUNDED, PROVED, Obligation, RefutedError
from refloss.formula import elementary, emitted
from refloss.formula.exponential import excess_series
from refloss.formula.reading import read
from refloss.formula.symbols import Quantity, exact, meaning

BITS = 256

_x = Symbol("x", real=True)


def obligations() -> Iterator[Obligation]:
    """The approximations that formulas and their compiled words contain."""
    for name, claim, show in (
        ("excess_series", "within 2^-57 of e^x - 1 - x for |x| <= 1, relatively", excess),
        ("exp", "the argument is reduced to |r| <= ln 2 / 2 (1 + 2^-41)", exp_range),
        ("exp", "the polynomial is within 2^-57 of e^r, relatively", exp_polynomial),
        ("log", "the series is within 2^-60 of log m for m in [sqrt 1/2, sqrt 2)", log_series),
        ("exp, few digits", "the polynomial is within 2^-45 of e^r, relatively", short_exp),
        ("log, few digits", "the series is within 2^-55 of log m, relatively", short_log),
        ("ln 2", "n LN2_HIGH is exact for |n| < 2^11", ln2_exact),
        ("ln 2", "LN2_HIGH + LN2_LOW is ln 2 to 2^-97", ln2_sum),
    ):
        verdict = PROVED if show is ln2_exact else BOUNDED
        yield Obligation(name, claim, precisely(show), verdict)


def precisely(show: Callable[[], str]) -> Callable[[], str]:
    """With enough bits that the balls are thin."""

    def shown() -> str:
        with ctx.workprec(BITS):
            return show()

    return shown


def bits(error: Any) -> str:
    """An error as a power of two, rounded up."""
    return f"2^{math.ceil(float((error.upper().log() / arb(2).log()).upper()) * 100) / 100:.2f}"


def below(error: Any, power: int) -> str:
    """Show that an error is below 2^power."""
    if not error < arb(2) ** power:
        raise RefutedError(f"the error may reach {bits(error)}")
    return f"<= {bits(error)}"


def ball(number: Any) -> Any:
    return arb(fmpq(int(number.p), int(number.q)))


def series_error(
    polynomial: Mapping[int, Rational],
    series: Callable[[int], Rational],
    radius: Any,
    tail_ratio: Any,
) -> Any:
    """A bound of |polynomial - series| on |x| <= radius.

    The coefficients' errors are added up. Behind the polynomial each term of the series is at
    most ``tail_ratio`` times the one before.
    """
    degree = max(polynomial)
    error = arb(0)
    for k in range(degree + 1):
        off = abs(polynomial.get(k, Rational(0)) - series(k))
        error += ball(off) * radius**k
    first = next(k for k in range(degree + 1, 2 * degree + 3) if series(k) != 0)
    return error + ball(series(first)) * radius**first / (1 - tail_ratio)


def coefficients(expression: Expr, x: Symbol) -> dict[int, Rational]:
    """The coefficients of a polynomial; its floats count for the numbers that they are."""
    numbers = {f: Rational(*float(f).as_integer_ratio()) for f in expression.atoms(Float)}
    return {k: c for (k,), c in Poly(expression.xreplace(numbers), x).terms()}


def one_over_factorial(k: int) -> Rational:
    return Rational(1, math.factorial(k))


# e^x - 1 - x ---------------------------------------------------------------------------------


def excess() -> str:
    series = read(excess_series, meaning(Path(Facts(Algebra()), ())))
    polynomial = coefficients(exact(series(Quantity(_x))), _x)
    return excess_error(polynomial)


def excess_error(polynomial: Mapping[int, Rational]) -> str:
    """Of x^2 (c_2 + c_3 x + ...): since e^x - 1 - x >= x^2 / (2 e) on [-1, 1], x^2 cancels."""
    shifted = {k - 2: c for k, c in polynomial.items()}
    if min(shifted) < 0:
        raise RefutedError("the series has a term below x^2")
    error = series_error(shifted, lambda k: one_over_factorial(k + 2), arb(1), arb(1) / 21)
    return below(error * 2 * arb(1).exp(), -57)


# exp -----------------------------------------------------------------------------------------


def on_symbols(function: Any, words: Mapping[str, Any]) -> Any:
    """A function of `refloss.formula.elementary` over the reals, floats as the numbers they are."""
    python = function.py_func
    namespace = {
        name: Rational(*value.as_integer_ratio()) if isinstance(value, float) else value
        for name, value in python.__globals__.items()
    }
    namespace |= {"fma": lambda x, y, z: x * y + z, **words}
    return types.FunctionType(python.__code__, namespace, python.__name__)


def exp_coefficients() -> dict[int, Rational]:
    """What ``_exp_parts`` makes of an argument that needs no reduction."""
    parts = on_symbols(
        elementary._exp_parts,
        {"select": lambda c, chosen, otherwise: chosen, "np": SimpleNamespace(rint=lambda x: 0)},
    )
    n, t, low = parts(_x)
    assert n == 0
    return coefficients(sympy.expand(1 + t + low), _x)


def exp_radius() -> Any:
    """What |r| is at most: n is the whole number nearest to x LOG2_E as rounded."""
    log2_e = ball(Rational(*elementary.LOG2_E.as_integer_ratio()))
    drift = 746 * abs(log2_e - 1 / arb(2).log()) + arb(2) ** -43  # half an ulp below 2^11
    return arb(2).log() * (arb(1) / 2 + drift)


def exp_range() -> str:
    excess_ = exp_radius() / (arb(2).log() / 2) - 1
    return below(excess_, -41)


def exp_polynomial() -> str:
    return exp_error(exp_coefficients())


def exp_error(polynomial: Mapping[int, Rational], power: int = -57) -> str:
    radius = exp_radius()
    error = series_error(polynomial, one_over_factorial, radius, radius / max(polynomial))
    return below(error * radius.exp(), power)


def short_exp() -> str:
    """Of float64 arithmetic for results of fewer digits."""
    factorials = emitted.factorials(emitted.WORKING)
    return exp_error({k: Rational(*c.as_integer_ratio()) for k, c in enumerate(factorials)}, -45)


# log -----------------------------------------------------------------------------------------


def log_series() -> str:
    return log_error(atanh_coefficients())


def atanh_coefficients() -> dict[int, Rational]:
    """R with log m = 2 s + s R(s^2), as ``_log_sum`` has it for m = 1 + f, s = f / (2 + f)."""
    m, s = Symbol("m"), Symbol("s")
    log_sum = on_symbols(
        elementary._log_sum,
        {
            "select": lambda c, chosen, otherwise: otherwise,
            "_bits_of_float": lambda x: 1023 << 52,
            "_float_of_bits": lambda x: m,
            "np": SimpleNamespace(float64=lambda x: Rational(x)),
        },
    )
    found = log_sum(m, Rational(0), 0)
    of_s = sympy.cancel(sympy.nsimplify(found, rational=True).subs(m, (1 + s) / (1 - s)))
    series = coefficients(sympy.expand(of_s), s)
    return {k: c for k, c in series.items() if c != 0}


def short_log() -> str:
    """Of float64 arithmetic for results of fewer digits."""
    coefficients_ = enumerate(emitted.atanh_coefficients(emitted.WORKING))
    series = {2 * k + 3: Rational(*c.as_integer_ratio()) for k, c in coefficients_}
    return log_error({1: Rational(2), **series}, -55)


def log_error(polynomial: Mapping[int, Rational], power: int = -60) -> str:
    """Of log m = 2 atanh s, relatively: |2 atanh s| >= 2 |s|, so a factor s cancels."""
    radius = (arb(2).sqrt() - 1) / (arb(2).sqrt() + 1)
    shifted = {k - 1: c for k, c in polynomial.items()}
    if min(shifted) < 0:
        raise RefutedError("the series does not vanish at m = 1")
    error = series_error(
        shifted,
        lambda k: Rational(2, k + 1) if k % 2 == 0 else Rational(0),
        radius,
        radius**2,
    )
    return below(error / 2, power)


# ln 2 ----------------------------------------------------------------------------------------


def ln2_exact() -> str:
    numerator, _ = elementary.LN2_HIGH.as_integer_ratio()
    if (numerator * (2**11 - 1)).bit_length() > 53:
        raise RefutedError("LN2_HIGH has too many digits")
    return f"{numerator.bit_length()} bits times 11"


def ln2_sum() -> str:
    parts: Sequence[float] = (elementary.LN2_HIGH, elementary.LN2_LOW)
    total = sum(Rational(*part.as_integer_ratio()) for part in parts)
    return below(abs(ball(total) - arb(2).log()), -97)
