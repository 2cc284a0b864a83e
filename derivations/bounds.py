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

import numpy as np
import sympy
from flint import arb, ctx, fmpq
from sympy import Expr, Float, Poly, Rational, Symbol

from derivations.algebra import Algebra
from derivations.explorer import Path
from derivations.facts import Facts
from derivations.obligations import BOUNDED, PROVED, Obligation, RefutedError
from refloss.formula import elementary, emitted, paired
from refloss.formula.emitted import Kind
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
        ("ln 2", "n LN2_HIGH is exact for |n| < 2^11", ln2_exact),
        ("ln 2", "LN2_HIGH + LN2_LOW is ln 2 to 2^-97", ln2_sum),
    ):
        verdict = PROVED if show is ln2_exact else BOUNDED
        yield Obligation(name, claim, precisely(show), verdict)
    for kind in emitted.KINDS.values():
        yield from of_kind(kind)
    for claim, show in (
        (f"degree {paired.EXP_DEGREE} is within 2^-30 of e^r, relatively", paired_exp),
        ("the argument less n LN2 is a number of float32, n LN2_LOW ends 2^-40 off", paired_ln2),
        ("2^(n - k) e^r is normal where it counts, and e^low is 1 + low to 2^-42", paired_step),
    ):
        yield Obligation("exp, pairs", claim, precisely(show), BOUNDED)


# How near the polynomials of each kind of arithmetic come, as powers of two: those of exp and log,
# and n ln 2 in two parts to n ln 2
NEAR = {"double": (-57, -60, -86), "working": (-36, -39, -86), "single": (-30, -31, -36)}
# and those of log(1 + x) between 0 and 1, and of e^x - 1 - x between -1 and 1
UNIT = {"double": -57, "working": -35}
EXCESS = {"double": -53, "working": -37}


def of_kind(kind: Kind) -> Iterator[Obligation]:
    """The polynomials that kernels of a kind of arithmetic contain, with the degrees it names."""
    of_exp, of_log, of_ln2 = NEAR[kind.name]
    for name, claim, show in (
        (
            "exp",
            f"degree {kind.exp_degree} is within 2^{of_exp} of e^r, relatively",
            lambda: exp_error(emitted_exp(kind), of_exp, emitted_radius(kind)),
        ),
        (
            "log",
            f"degree {kind.atanh_degree} is within 2^{of_log} of log m, relatively",
            lambda: log_error(emitted_log(kind), of_log, mantissa_radius(kind)),
        ),
        (
            "ln 2",
            f"n (ln2_high + ln2_low) is within 2^{of_ln2} of n ln 2, the first product exact",
            lambda: emitted_ln2(kind, of_ln2),
        ),
    ):
        yield Obligation(f"{name}, {kind.name}", claim, precisely(show), BOUNDED)
    if kind.unit_degree:
        claim = f"degree {kind.unit_degree} is within 2^{UNIT[kind.name]} of log(1 + x), relatively"
        show = precisely(lambda: unit_error(kind))
        yield Obligation(f"log, {kind.name}", f"{claim}, for 0 <= x <= 1", show, BOUNDED)
        power = EXCESS[kind.name]
        claim = f"degree {kind.excess_degree} is within 2^{power} of e^x - 1 - x, relatively"
        show = precisely(lambda: excess_error(emitted_excess(kind), power))
        yield Obligation(f"excess, {kind.name}", f"{claim}, for |x| <= 1", show, BOUNDED)
    claim = "one step of the exponent leaves 2^n e^r among the normal numbers"
    steps = {"working": one_step, "double": lifted_step}
    if kind.name in steps:
        show = precisely(lambda: steps[kind.name](kind))
        yield Obligation(f"exp, {kind.name}", claim, show, BOUNDED)


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


def excess_error(polynomial: Mapping[int, Rational], power: int = -57) -> str:
    """Of x^2 (c_2 + c_3 x + ...): since e^x - 1 - x >= x^2 / (2 e) on [-1, 1], x^2 cancels."""
    shifted = {k - 2: c for k, c in polynomial.items()}
    if min(shifted) < 0:
        raise RefutedError("the series has a term below x^2")
    error = series_error(shifted, lambda k: one_over_factorial(k + 2), arb(1), arb(1) / 21)
    return below(error * 2 * arb(1).exp(), power)


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


def exp_error(polynomial: Mapping[int, Rational], power: int = -57, radius: Any = None) -> str:
    radius = exp_radius() if radius is None else radius
    error = series_error(polynomial, one_over_factorial, radius, radius / max(polynomial))
    return below(error * radius.exp(), power)


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


def log_error(polynomial: Mapping[int, Rational], power: int = -60, radius: Any = None) -> str:
    """Of log m = 2 atanh s, relatively: |2 atanh s| >= 2 |s|, so a factor s cancels."""
    radius = (arb(2).sqrt() - 1) / (arb(2).sqrt() + 1) if radius is None else radius
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


# The same in the kernels that are emitted -----------------------------------------------------


def stored(kind: Kind, x: float) -> Rational:
    """A constant in the format of the arithmetic, as the number that it is there."""
    there = float(np.float32(x)) if kind.digits == 24 else x
    return Rational(*there.as_integer_ratio())


def literals(word: str) -> list[float]:
    """The numbers that stand in one of the words of `refloss.formula.emitted`."""
    words: Any = emitted.meaning.__code__.co_consts
    constants: Any = next(c.co_consts for c in words if getattr(c, "co_name", "") == word)
    found: list[float] = []
    for constant in constants:
        parts = constant if isinstance(constant, tuple) else (constant,)
        found += [x for x in parts if isinstance(x, float)]
    return found


def emitted_exp(kind: Kind) -> dict[int, Rational]:
    return {k: stored(kind, c) for k, c in enumerate(emitted.factorials(kind.exp_degree))}


def emitted_log(kind: Kind) -> dict[int, Rational]:
    series = {2 * k + 3: stored(kind, c) for k, c in enumerate(emitted.atanh_coefficients(kind))}
    return {1: Rational(2), **series}


def emitted_unit(kind: Kind) -> dict[int, Rational]:
    """As a polynomial of s = t / 2."""
    odd = {2 * k + 3: stored(kind, c) for k, c in enumerate(emitted.unit_coefficients(kind))}
    return {1: Rational(2), **{k: c * 2**k for k, c in odd.items()}}


def emitted_excess(kind: Kind) -> dict[int, Rational]:
    series = enumerate(emitted.factorials(kind.excess_degree))
    return {k: stored(kind, c) for k, c in series if k > 1}


def most(kind: Kind) -> int:
    """What |n| is at most where e^x is made, of x between the ends for float32 or for float64."""
    is_far = kind.digits == 53
    farthest = max(abs(x) for x in literals("exp_parts") if is_far or abs(x) < 200)
    return math.ceil(farthest / math.log(2)) + 1


def emitted_radius(kind: Kind) -> Any:
    """What |r| is at most: the product with log2 e is rounded once, to a whole number n."""
    drift = most(kind) * abs(ball(stored(kind, 1 / math.log(2))) * arb(2).log() - 1)
    return arb(2).log() * (arb(1) / 2 + drift + most(kind) * ln2_off(kind) / arb(2).log())


def ln2_off(kind: Kind) -> Any:
    total = stored(kind, kind.ln2_high) + stored(kind, kind.ln2_low)
    return abs(ball(total) - arb(2).log())


def emitted_ln2(kind: Kind, power: int) -> str:
    numerator, _ = stored(kind, kind.ln2_high).as_numer_denom()
    if (int(numerator) * most(kind)).bit_length() > kind.digits:
        raise RefutedError("ln2_high has too many digits")
    return below(most(kind) * ln2_off(kind), power)


def unit_error(kind: Kind) -> str:
    """Of log(1 + x) = 2 atanh s with s = x / (2 + x), at most 1 / 3."""
    return log_error(emitted_unit(kind), UNIT[kind.name], arb(1) / 3)


def mantissa_radius(kind: Kind) -> Any:
    """What |s| = |m - 1| / (m + 1) is at most, of m from the least one to twice that."""
    least = ball(stored(kind, emitted.least_mantissa(kind)))
    above, low = (2 * least - 1) / (2 * least + 1), (1 - least) / (1 + least)
    return above if above > low else low


def one_step(kind: Kind) -> str:
    """e^x as it comes out, 2^-30 off at most, between the ends of which no more is made."""
    found = [*literals("quick_exp"), *literals("quick_fading")]
    ends = [x for x in found if abs(x) > 1]
    lowest, highest = (ball(stored(kind, end)) / arb(2).log() for end in (min(ends), max(ends)))
    room = arb(2) ** -29
    if not (lowest - room > 1 - kind.bias and highest + room < kind.bias + 1):
        raise RefutedError(f"2^n e^r is not normal for all x in {sorted(ends)}")
    return f"for {min(ends):g} <= x <= {max(ends):g}"


def lifted_step(kind: Kind) -> str:
    """The same, 2^-51 off at most, where what is below the normal numbers is lifted first."""
    ends = literals("in_one_step")
    (turn,), (fall,) = ([x for x in ends if x < -1], [x for x in ends if 0 < x < 1])
    farthest = min(x for x in literals("exp_parts") if abs(x) > 200)
    lift, room = -math.log2(fall), arb(2) ** -50
    above, below = (ball(stored(kind, x)) / arb(2).log() for x in (turn, farthest))
    largest = ball(stored(kind, emitted.LARGEST)).exp() * (1 + room)
    if not (min(above, below + lift) - room > 1 - kind.bias and largest < arb(2) ** 1024):
        raise RefutedError("2^n e^r is not normal, lifted or not")
    return f"lifted by 2^{lift:g} below {turn:g}"


# And in pairs of float32 -----------------------------------------------------------------------


def farthest() -> int:
    """What |n| is at most, of logits in reach and of those that do not count for nothing."""
    return math.ceil((paired.REACH + paired.FADED) / math.log(2)) + 1


def paired_radius() -> Any:
    """What |r| is at most: the product with log2 e is rounded once, to a whole number n."""
    log2_e, ln2 = stored(emitted.SINGLE, 1 / math.log(2)), Rational(*paired.LN2.as_integer_ratio())
    drift = farthest() * (abs(ball(log2_e) * arb(2).log() - 1) + abs(ball(ln2) - arb(2).log()))
    return arb(2).log() * (arb(1) / 2 + drift)


def paired_exp() -> str:
    numbers = enumerate(emitted.factorials(paired.EXP_DEGREE))
    polynomial = {k: stored(emitted.SINGLE, c) for k, c in numbers}
    return exp_error(polynomial, -30, paired_radius())


def paired_ln2() -> str:
    """Of an argument that is at least ln 2 / 2 off 0 all digits are multiples of 2^-25."""
    numerator, denominator = paired.LN2.as_integer_ratio()
    if denominator > 2**24 or not paired_radius() < arb(1) / 2:
        raise RefutedError(f"LN2 = {numerator} / {denominator} leaves more digits than there are")
    parts = (Rational(*x.as_integer_ratio()) for x in (paired.LN2, paired.LN2_LOW))
    return below(farthest() * abs(ball(sum(parts)) - arb(2).log()), -40)


def paired_step() -> str:
    """n and k are whole numbers next to quotients by ln 2, and their difference is one."""
    most = math.floor(paired.FADED / math.log(2) + 1 + 2**-8)
    lowest, highest = paired.FADING - most, paired.FADING + 2
    if not (lowest > 1 - emitted.SINGLE.bias and highest < emitted.SINGLE.bias):
        raise RefutedError(f"2^{lowest} or 2^{highest} is not normal")
    return below(arb((most * paired.LN2_LOW) ** 2), -42)
