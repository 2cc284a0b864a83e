"""Certified rounding against other arithmetic: MPFR, mpmath, struct; and what must be refused."""

import random
import struct
from fractions import Fraction

import gmpy2
import mpmath
import pytest
import sympy
from flint import arb, ctx, fmpq

from derivations.enclose import (
    Singular,
    UnknownNode,
    compiled,
    constant,
    equal,
    largest,
    less,
    log,
    power,
)
from derivations.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from derivations.rounding import BITS, Uncertain, certified, hexadecimal, round_to_odd

MPFR = {
    "float16": gmpy2.ieee(16),
    "bfloat16": gmpy2.context(precision=8, emax=128, emin=-132, subnormalize=True),
    "float32": gmpy2.ieee(32),
    "float64": gmpy2.ieee(64),
}


def mpfr(value: Fraction, form: Format) -> float:
    """`value` correctly rounded to a format by MPFR."""
    with gmpy2.context(MPFR[form.name]):
        return float(gmpy2.mpfr(gmpy2.mpq(value.numerator, value.denominator)))


def awkward(rng: random.Random, form: Format) -> Fraction:
    """A rational at, or within a hair of, a midpoint between two numbers, subnormals too."""
    exponent = rng.randrange(form.emin - form.precision - 2, form.emax)
    x = form.nearest(rng.uniform(1.0, 2.0) * 2.0 ** max(exponent, -1074))
    middle = Fraction(x) + form.spacing(x) / 2
    hair = Fraction(rng.choice((-1, 0, 1)), 3 * 2 ** rng.choice((0, 30, 70, 90, 200)))
    return middle + middle * hair


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_rounding_twice_through_odd_is_rounding_once(form: Format) -> None:
    rng = random.Random(form.name)
    for _ in range(4000):
        exact = awkward(rng, form)
        assert mpfr(round_to_odd(exact), form) == mpfr(exact, form), exact


def test_a_shorter_nearest_rounding_would_fail_where_odd_does_not() -> None:
    # just above a float32 midpoint, by less than 80 bits show: to nearest, the trace is lost
    exact = Fraction(1) + Fraction(1, 2**24) + Fraction(1, 2**120)
    to_nearest = Fraction(round(exact * 2**79), 2**79)
    assert mpfr(exact, FLOAT32) > 1
    assert mpfr(to_nearest, FLOAT32) == 1
    assert mpfr(round_to_odd(exact), FLOAT32) == mpfr(exact, FLOAT32)


def test_numbers_of_eighty_bits_are_themselves() -> None:
    rng = random.Random(80)
    for _ in range(1000):
        mantissa = rng.getrandbits(BITS)
        scale = Fraction(2) ** rng.randrange(-3000, 3000)
        for sign in (1, -1):
            value = sign * mantissa * scale
            assert round_to_odd(value) == value
            cut = round_to_odd(value + value * Fraction(1, 2**200))
            if mantissa:
                assert cut != value or mantissa % 2


@pytest.mark.parametrize(
    ("form", "code"), [(FLOAT16, "e"), (FLOAT32, "f"), (FLOAT64, "d")], ids=lambda v: str(v)
)
def test_formats_agree_with_struct(form: Format, code: str) -> None:
    rng = random.Random(code)
    for _ in range(4000):
        x = rng.uniform(1.0, 2.0) * 2.0 ** rng.randrange(form.emin - 30, form.emax)
        (packed,) = struct.unpack(code, struct.pack(code, x)) if abs(x) < form.largest else (x,)
        if packed == x or abs(x) < form.largest:
            assert form.nearest(x) == packed
        assert form.holds(packed)
        if abs(packed) < form.largest:
            assert form.down(form.up(packed)) == packed
            step = struct.unpack(code, struct.pack(code, form.up(packed)))[0]
            assert step == form.up(packed) > packed


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    rng = random.Random(16)
    for _ in range(4000):
        x = struct.unpack("<f", struct.pack("<I", rng.getrandbits(16) << 16))[0]
        assert BFLOAT16.holds(x)
        if x == x and abs(x) < BFLOAT16.largest:
            (bits,) = struct.unpack("<I", struct.pack("<f", BFLOAT16.up(x)))
            assert bits & 0xFFFF == 0


def test_hexadecimal_is_read_back() -> None:
    rng = random.Random("hex")
    for _ in range(2000):
        (x,) = struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))
        back = float.fromhex(hexadecimal(x))
        assert struct.pack("<d", back) == struct.pack("<d", x) or x != x
    long = round_to_odd(Fraction(1, 3))
    assert hexadecimal(long) == "0x1.55555555555555555556p-2"
    assert hexadecimal(Fraction(0)) == "0x0p+0"
    assert hexadecimal(-0.0) == "-0x0p+0"
    assert hexadecimal(Fraction(3, 2**6000)) == "0x1.8p-5999"


X = sympy.Symbol("x", real=True)
G = sympy.Symbol("g", nonnegative=True)
P = 1 / (1 + sympy.exp(-X))


@pytest.mark.parametrize(
    "expression",
    [
        -sympy.log(P),
        -sympy.log(1 - P),
        (1 - P) ** G * sympy.log(P),
        sympy.Rational(1, 3) * sympy.exp(X) - sympy.Abs(X),
        sympy.Max(sympy.exp(X), 2) + sympy.Min(X, sympy.Rational(1, 7)),
    ],
    ids=str,
)
def test_certified_numbers_against_mpmath(expression: sympy.Expr) -> None:
    outer = compiled((expression,), (X, G))
    reference = sympy.lambdify((X, G), expression, "mpmath")
    rng = random.Random(str(expression))
    for _ in range(60):
        x, g = Fraction(rng.randrange(-4000, 4000), 64), Fraction(rng.randrange(1, 12), 4)
        found = None
        for bits in (128, 256, 512):
            with ctx.workprec(bits):
                arguments = (fmpq(v.numerator, v.denominator) for v in (x, g))
                try:
                    found = certified(outer(*arguments)()[0])
                    break
                except Uncertain:
                    continue
        assert found is not None
        with mpmath.workdps(600):
            true = reference(mpmath.mpf(x.numerator) / x.denominator, mpmath.mpf(float(g)))
            sign, mantissa, exponent, _ = true._mpf_
            exact = (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
        for form in FORMATS:
            assert mpfr(found, form) == mpfr(exact, form)


def test_precision_decides_never_luck() -> None:
    with ctx.workprec(53), pytest.raises(Uncertain):
        certified(arb(2).log())
    with ctx.workprec(128):
        assert certified(arb(2).log()) == round_to_odd(Fraction(str(mpmath_log2())))
    with ctx.workprec(2000), pytest.raises(Uncertain):
        certified(arb(2).log() - arb(2).log())


def mpmath_log2() -> str:
    with mpmath.workdps(60):
        return mpmath.nstr(mpmath.log(2), 55)


def test_rationals_are_not_floats() -> None:
    assert constant(sympy.Rational(1, 3)) == fmpq(1, 3)
    assert constant(sympy.Rational(1, 3) * 3 - 1) == 0
    third = compiled((X / 3,), (X,))(fmpq(1))()[0]
    assert isinstance(third, fmpq)
    assert third * 3 == 1
    # a Float is the binary number that it is
    tenth = constant(sympy.Float(0.1))
    assert Fraction(int(tenth.p), int(tenth.q)) == Fraction(0.1) != Fraction(1, 10)


def test_exact_where_it_can_be() -> None:
    half = compiled((P,), (X,))(fmpq(0))()[0]
    assert isinstance(half, fmpq)
    assert half == fmpq(1, 2)
    assert log(fmpq(1)) == 0
    assert power(fmpq(0), fmpq(0)) == 1
    assert power(fmpq(0), fmpq(1, 2)) == 0
    assert power(fmpq(2), fmpq(-3)) == fmpq(1, 8)


def test_overlapping_comparisons_raise() -> None:
    near = arb(1, 2**-20)
    with pytest.raises(Uncertain):
        less(near, fmpq(1))
    with pytest.raises(Uncertain):
        less(fmpq(1), near)
    with pytest.raises(Uncertain):
        equal(near, near)
    arms = sympy.Piecewise((X**2, X <= 1), (2 * X - 1, True))
    with pytest.raises(Uncertain):
        compiled((arms,), (X,))(near)()
    assert compiled((arms,), (X,))(fmpq(1))()[0] == 1
    assert compiled((arms,), (X,))(arb(3))()[0] == 5


def test_the_largest_of_overlapping_balls_holds_both() -> None:
    a, b = arb(1, 0.5), arb(1.25, 0.5)
    top = largest([a, b])
    assert top.contains(arb(1.25))
    assert top.contains(arb(1.75))
    assert largest([fmpq(1), fmpq(3), fmpq(2)]) == 3


def test_singular_points_raise() -> None:
    for function in (sympy.log(X), 1 / X, X ** sympy.Rational(-1, 2)):
        with pytest.raises(Singular):
            compiled((function,), (X,))(fmpq(0))()


@pytest.mark.parametrize("function", [sympy.sin(X), sympy.erf(X), sympy.sign(X), sympy.pi * X])
def test_unknown_nodes_raise(function: sympy.Expr) -> None:
    with pytest.raises(UnknownNode):
        compiled((function,), (X,))


def test_sums_that_do_not_depend_on_the_index_are_hoisted() -> None:
    C = sympy.Symbol("C", integer=True)
    i, j, k = (sympy.Symbol(name, integer=True) for name in "ijk")
    z = sympy.IndexedBase("z")
    total = sympy.Sum(sympy.exp(z[j]), (j, 0, C - 1))
    inside = sympy.Sum(z[i] * sympy.KroneckerDelta(i, k) * sympy.exp(z[i]) / total, (i, 0, C - 1))
    reads = 0

    class Counting(list[fmpq]):
        def __getitem__(self, index: object) -> fmpq:
            nonlocal reads
            reads += 1
            return super().__getitem__(index)  # type: ignore[call-overload,no-any-return]

    with ctx.workprec(128):
        inner = compiled((inside, z[k]), (z, C), k, C)(
            Counting(fmpq(n, 8) for n in range(50)), fmpq(50)
        )
        assert reads == 50
        share, at = inner(7)
        assert at == fmpq(7, 8)
        exact = sum(mpmath.exp(mpmath.mpf(n) / 8) for n in range(50))
        assert float(share) == pytest.approx(
            float(7 / mpmath.mpf(8) * mpmath.exp(mpmath.mpf(7) / 8) / exact)
        )
    assert reads == 50 + 2 * 50 + 1
