"""The reading that writes machine instructions: one formula, one straight run of LLVM code.

The numbers of a formula are here values of the code being built, so a formula costs no type
inference, and every operation is exactly the one meant: in float32 nothing is promoted, and no
compiler contracts a product and a sum (CUDA's does unless the product is an intrinsic of its own).
The same instructions run on the CPU and on the GPU, where all of them round alike.

Three kinds of arithmetic:

* ``double``: float64, and the words that tell what rounding lost know it;
* ``working``: float64 for results of fewer digits: nothing that is lost matters, and counts as 0;
* ``single``: float32, compensated wherever a formula asks what was lost.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from llvmlite import ir

from refloss.formula import exponential, hinge
from refloss.formula.reading import read

Builder = Any

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class Kind:
    """A floating-point format to compute in, and whether what rounding lost is followed."""

    name: str
    type: Any
    integer: Any
    digits: int  # of the significand, the hidden one included
    bias: int
    exp_degree: int
    atanh_degree: int
    # where several are made at once: of log(1 + x), 0 <= x <= 1, and of e^x - 1 - x, |x| <= 1
    unit_degree: int
    excess_degree: int
    keeps_lost: bool
    letter: str  # in the names of libdevice's functions
    suffix: str
    tiny: float  # products below have lost digits to underflow
    # ln 2 in two parts; a multiple of the first by a small whole number is exact
    ln2_high: float
    ln2_low: float

    @property
    def shift(self) -> int:
        """Where the exponent begins."""
        return self.digits - 1

    @property
    def magic(self) -> float:
        """Added to a number below 2^(digits - 2), it leaves a whole number in the low bits."""
        return 1.5 * 2.0**self.shift


_DOUBLE: dict[str, Any] = {
    "type": ir.DoubleType(),
    "integer": _INT64,
    "digits": 53,
    "bias": 1023,
    "letter": "d",
    "suffix": "",
    "tiny": 2.0**-960,
    "ln2_high": float.fromhex("0x1.62e42fefa3800p-1"),
    "ln2_low": float.fromhex("0x1.ef35793c76730p-45"),
}
DOUBLE = Kind(
    "double",
    exp_degree=13,
    atanh_degree=23,
    unit_degree=33,
    excess_degree=19,
    keeps_lost=True,
    **_DOUBLE,
)
WORKING = Kind(
    "working",
    exp_degree=9,
    atanh_degree=13,
    unit_degree=19,
    excess_degree=14,
    keeps_lost=False,
    **_DOUBLE,
)
SINGLE = Kind(
    "single",
    type=ir.FloatType(),
    integer=_INT32,
    digits=24,
    bias=127,
    exp_degree=8,
    atanh_degree=11,
    unit_degree=0,
    excess_degree=0,
    keeps_lost=True,
    letter="f",
    suffix="f",
    tiny=2.0**-100,
    ln2_high=float.fromhex("0x1.62e400p-1"),  # 16 bits: times 2^8 it is exact
    ln2_low=float.fromhex("0x1.7f7d1cp-20"),
)
KINDS = {kind.name: kind for kind in (DOUBLE, WORKING, SINGLE)}


# Constants, each made once: to write one down takes LLVM's Python side longer than an instruction


@cache
def _real(kind: Any, digits: str) -> Any:
    return ir.Constant(kind, float.fromhex(digits))


@cache
def _whole(kind: Any, n: int) -> Any:
    return ir.Constant(kind, n)


@cache
def _everywhere(constant: Any, lanes: int) -> Any:
    return ir.Constant(ir.VectorType(constant.type, lanes), [constant.constant] * lanes)


@cache
def _undefined(kind: Any, lanes: int) -> Any:
    return ir.Constant(ir.VectorType(kind, lanes), ir.Undefined)


LARGEST = math.log(sys.float_info.max)  # above it e^x is infinite


class Code:
    """The place where instructions are written, for one kind of arithmetic and one machine.

    A number is one value, or a vector of ``lanes`` of them, one for each of several elements or
    rows; one value stands for all lanes, and what is made of such values alone is made once.
    """

    def __init__(self, builder: Builder, kind: Kind, cuda: bool, lanes: int = 1) -> None:
        self.builder, self.kind, self.cuda, self.lanes = builder, kind, cuda, lanes

    def number(self, x: Any) -> Number:
        """A constant, or the number itself."""
        if isinstance(x, Number):
            return x
        if x is NOTHING:
            return self.number(0)
        return Number(self, _real(self.kind.type, float(x).hex()), float(x))

    def spread(self, value: Any) -> Any:
        """One value of LLVM in every lane."""
        if self.lanes == 1 or isinstance(value.type, ir.VectorType):
            return value
        if isinstance(value, ir.Constant):
            return _everywhere(value, self.lanes)
        undefined = _undefined(value.type, self.lanes)
        first = self.builder.insert_element(undefined, value, _whole(_INT32, 0))
        order = _everywhere(_whole(_INT32, 0), self.lanes)
        return self.builder.shuffle_vector(first, undefined, order)

    def together(self, *values: Any) -> list[Any]:
        """Values of LLVM as vectors, if one of them is one."""
        if any(isinstance(value.type, ir.VectorType) for value in values):
            return [self.spread(value) for value in values]
        return list(values)

    def _call(self, name: str, *numbers: Number) -> Number:
        values = self.together(*(x.value for x in numbers))
        if isinstance(values[0].type, ir.VectorType):
            name = f"{name[: -len('f64')]}v{self.lanes}{name[-len('f64') :]}"
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(values[0].type, [value.type for value in values])
            function = ir.Function(module, kind, name)
        return self._made(self.builder.call(function, values), *numbers)

    def _made(self, value: Any, *sources: Number) -> Number:
        return Number(self, value, steady=all(x.steady for x in sources))

    def intrinsic(self, name: str, *numbers: Number) -> Number:
        """One of LLVM's own functions of a number of this kind."""
        return self._call(f"llvm.{name}.f{64 if self.kind.digits == 53 else 32}", *numbers)

    def multiply(self, x: Number, y: Number) -> Number:
        """x * y, rounded by itself."""
        if self.cuda:
            return self._call(f"__nv_{self.kind.letter}mul_rn", x, y)
        return self._made(self.builder.fmul(*self.together(x.value, y.value)), x, y)

    def divide(self, x: Number, y: Number) -> Number:
        """x / y; by what is the same all through a loop, as a product with its reciprocal."""
        if self.lanes > 1 and y.steady and not x.steady:
            return self._divided_by_steady(x, y)
        flags = () if self.kind.keeps_lost else ("arcp",)  # one reciprocal for several quotients
        return self._made(self.builder.fdiv(*self.together(x.value, y.value), flags=flags), x, y)

    def _divided_by_steady(self, x: Number, y: Number) -> Number:
        """The product, to within two roundings; corrected by its remainder where that is one off.

        What is corrected is the rounded quotient, but where the remainder or the quotient is
        subnormal (P. Markstein 1990). A divisor whose reciprocal is out of range is lifted together
        with what it divides.
        """
        if not self.kind.keeps_lost:
            return self.multiply(x, self.divide(self.number(1), y))
        lift = self.choose(self.absolute(y) < 2.0**-900, self.number(2.0**200), self.number(1))
        x, y = self.multiply(x, lift), self.multiply(y, lift)
        rate = self.divide(self.number(1), y)
        quotient = self.multiply(x, rate)
        rest = self.intrinsic("fma", -quotient, y, x)
        corrected = self.intrinsic("fma", rest, rate, quotient)
        return self.choose(self.absolute(rest) < math.inf, corrected, quotient)

    def divide_roughly(self, x: Number, y: Number) -> Number:
        """x / y to within two roundings, and 0 by what has no finite reciprocal."""
        if self.lanes == 1 or not y.steady or x.steady:
            return self.divide(x, y)
        rate = self.divide(self.number(1), y)
        finite = self.absolute(rate) < math.inf
        return self.multiply(x, self.choose(finite, rate, self.number(0)))

    def absolute(self, x: Number) -> Number:
        """|x|."""
        return (
            self._call(f"__nv_fabs{self.kind.suffix}", x)
            if self.cuda
            else self.intrinsic("fabs", x)
        )

    def raised(self, x: Number, exponent: Number) -> Number:
        """The machine's own power function."""
        if self.cuda:
            return self._call(f"__nv_pow{self.kind.suffix}", x, exponent)
        return self.intrinsic("pow", x, exponent)

    def choose(self, condition: Flag, chosen: Number, otherwise: Number) -> Number:
        """One of two numbers, without a jump."""
        # the condition in every lane, too: with one for all, LLVM would jump in a loop of vectors
        parts = self.together(condition.value, chosen.value, otherwise.value)
        value = self.builder.select(*parts)
        return Number(self, value, steady=condition.steady and chosen.steady and otherwise.steady)

    def branch(
        self, condition: Any, chosen: Callable[[], Number], otherwise: Callable[[], Number]
    ) -> Number:
        """A jump, for an arm that is too dear to compute in vain; lanes that differ need both."""
        builder = self.builder
        if isinstance(condition, bool):
            return chosen() if condition else otherwise()
        if isinstance(condition.value.type, ir.VectorType):
            return self.choose(condition, chosen(), otherwise())
        with builder.if_else(condition.value) as (then, other):
            with then:
                first = self.spread(chosen().value)
                first_block = builder.block
            with other:
                second = self.spread(otherwise().value)
                second_block = builder.block
        phi = builder.phi(first.type)
        phi.add_incoming(first, first_block)
        phi.add_incoming(second, second_block)
        return Number(self, phi)

    def bits(self, x: Number) -> Any:
        """The number's bits, as an integer of LLVM."""
        return self.builder.bitcast(x.value, self.shaped(self.kind.integer, x.value))

    def of_bits(self, bits: Any) -> Number:
        """The number with these bits."""
        return Number(self, self.builder.bitcast(bits, self.shaped(self.kind.type, bits)))

    def of_integer(self, n: Any) -> Number:
        """An integer of LLVM as a number."""
        return Number(self, self.builder.sitofp(n, self.shaped(self.kind.type, n)))

    def integer(self, n: int, like: Any) -> Any:
        """A constant of the kind's integers, in as many lanes as another value has."""
        whole = _whole(self.kind.integer, n)
        return self.spread(whole) if isinstance(like.type, ir.VectorType) else whole

    def shaped(self, kind: Any, like: Any) -> Any:
        """A type of LLVM, in as many lanes as a value has."""
        vector = isinstance(like.type, ir.VectorType)
        return ir.VectorType(kind, self.lanes) if vector else kind


class Flag:
    """A condition."""

    __slots__ = ("code", "steady", "value")

    def __init__(self, code: Code, value: Any, steady: bool = False) -> None:
        self.code, self.value, self.steady = code, value, steady

    def __and__(self, other: Flag) -> Flag:
        values = self.code.together(self.value, other.value)
        return Flag(self.code, self.code.builder.and_(*values), self.steady and other.steady)

    def __bool__(self) -> bool:
        raise TypeError("a formula branches with `where`, never with the truth of a number")


class Compared:
    """What is compared by writing code, and has no truth before that has run."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def _than(self, relation: str, other: Any) -> Any:
        raise NotImplementedError

    def __gt__(self, other: Any) -> Any:
        return self._than(">", other)

    def __ge__(self, other: Any) -> Any:
        return self._than(">=", other)

    def __lt__(self, other: Any) -> Any:
        return self._than("<", other)

    def __le__(self, other: Any) -> Any:
        return self._than("<=", other)

    def __eq__(self, other: object) -> Any:
        return self._than("==", other)

    def __ne__(self, other: object) -> Any:
        return self._than("!=", other)

    def __bool__(self) -> bool:
        raise TypeError("a formula branches with `where`, never with the truth of a number")


class Number(Compared):
    """A floating-point number of the code that is being written.

    ``constant`` is what it is, if that is known; a ``steady`` number is the same all through the
    innermost loop, as is one value that stands for all lanes.
    """

    __slots__ = ("code", "constant", "steady", "value")

    def __init__(
        self, code: Code, value: Any, constant: float | None = None, steady: bool = False
    ) -> None:
        self.code, self.value, self.constant = code, value, constant
        self.steady = steady or not isinstance(value.type, ir.VectorType)

    def _with(self, other: Any, make: Callable[[Any, Any], Any]) -> Any:
        if not _is_plain(other):
            return NotImplemented
        other = self.code.number(other)
        values = self.code.together(self.value, other.value)
        return Number(self.code, make(*values), steady=self.steady and other.steady)

    def _than(self, relation: str, other: Any) -> Any:
        if not _is_plain(other):
            return NotImplemented
        other = self.code.number(other)
        if self.constant is not None and other.constant is not None:
            return RELATIONS[relation](self.constant, other.constant)
        values = self.code.together(self.value, other.value)
        make = self.code.builder.fcmp_unordered if relation == "!=" else None
        make = make or self.code.builder.fcmp_ordered
        return Flag(self.code, make(relation, *values), self.steady and other.steady)

    def __neg__(self) -> Any:
        if self.constant is not None:
            return self.code.number(-self.constant)
        # 0 - x would make +0 of 0
        return self.code.number(-0.0)._with(self, self.code.builder.fsub)

    def __add__(self, other: Any) -> Any:
        if other is NOTHING or is_zero(other):
            return self
        if self.constant == 0 and _is_plain(other):
            return self.code.number(other)
        return self._with(other, self.code.builder.fadd)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if other is NOTHING or is_zero(other):
            return self
        return self._with(other, self.code.builder.fsub)

    def __rsub__(self, other: Any) -> Any:
        return self.code.number(other) - self

    def __mul__(self, other: Any) -> Any:
        if other is NOTHING:
            return NOTHING
        if not _is_plain(other):
            return NotImplemented
        other = self.code.number(other)
        if other.constant == 1:
            return self
        return other if self.constant == 1 else self.code.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.code.number(other) * self

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, int) and other == 2:
            return self * 0.5  # the same number, and no division
        other = self.code.number(other)
        return self if other.constant == 1 else self.code.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.code.number(other) / self


RELATIONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


class Nothing:
    """What rounding lost where that does not matter: it vanishes from a formula, at no cost."""

    def __add__(self, other: Any) -> Any:
        return self if is_zero(other) else other

    __radd__ = __rsub__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self if other is self or is_zero(other) else -other

    def __neg__(self) -> Nothing:
        return self

    def __mul__(self, other: Any) -> Nothing:
        return self

    __rmul__ = __truediv__ = __mul__


NOTHING = Nothing()


def factorials(degree: int) -> list[float]:
    """The coefficients of e^r from the constant up."""
    return [float(Fraction(1, math.factorial(k))) for k in range(degree + 1)]


def atanh_coefficients(kind: Kind) -> list[float]:
    """Those of 2 atanh s behind 2 s, of s^3, s^5 and so on, for |s| <= 0.172."""
    return [float(Fraction(2, k)) for k in range(3, kind.atanh_degree + 1, 2)]


def unit_coefficients(kind: Kind) -> list[float]:
    """Those of 2 atanh(t / 2) behind t, for |t| <= 2/3."""
    return [float(Fraction(2, k * 2**k)) for k in range(3, kind.unit_degree + 1, 2)]


def least_mantissa(kind: Kind) -> float:
    """The root of 1/2, rounded down: a logarithm's m has at least that, and less than twice it."""
    return math.floor(math.sqrt(0.5) * 2.0**kind.digits) / 2.0**kind.digits


def meaning(code: Code) -> Mapping[str, Any]:
    """What each word means where this code is written."""
    kind, builder = code.kind, code.builder
    ln2_high, ln2_low = kind.ln2_high, kind.ln2_low
    taylor, beyond = factorials(kind.exp_degree), factorials(kind.excess_degree)[2:]
    atanh, unit = atanh_coefficients(kind), unit_coefficients(kind)
    # several exponentials at once are within an ulp; exp_error tells what they lost all the same
    in_lanes = code.lanes > 1 and kind.digits == 53

    def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
        if isinstance(condition, bool):
            taken = chosen if condition else otherwise
            return taken if taken is NOTHING else code.number(taken)
        if any(x is NOTHING for x in (chosen, otherwise)) and not is_more(chosen, otherwise):
            return NOTHING
        if is_zero(chosen) and is_zero(otherwise):
            return code.number(0)
        return code.choose(condition, code.number(chosen), code.number(otherwise))

    def of_number(function: Callable[[Number], Number]) -> Callable[[Any], Number]:
        return lambda x: function(Number(code, code.number(x).value))

    def fma(x: Number, y: Any, z: Any) -> Number:
        return code.intrinsic("fma", x, code.number(y), code.number(z))

    def series(coefficients: Sequence[float], x: Number) -> Number:
        total = code.number(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            total = fma(total, x, coefficient)
        return total

    def two_sum(x: Number, y: Number) -> tuple[Number, Number]:
        total = x + y
        part = total - x
        return total, (x - (total - part)) + (y - part)

    def absolute(x: Number) -> Number:
        return code.absolute(x)

    def power_of_two(n: Any) -> Number:
        lifted = builder.add(n, code.integer(kind.bias, n))
        return code.of_bits(builder.shl(lifted, code.integer(kind.shift, n)))

    def exp_parts(x: Number) -> tuple[Any, Number, Any]:
        # (n, t, l): e^x = 2^n (1 + t + l), as in `refloss.formula.elementary`
        top, bottom = (710.0, -746.0) if kind.digits == 53 else (89.5, -104.0)
        inside = where(x < bottom, bottom, x)  # a NaN stays one
        if not in_lanes:
            inside = where(inside > top, top, inside)
        shifted = fma(inside, 1 / math.log(2), kind.magic)
        n = shifted - kind.magic
        bits = code.bits(shifted)
        whole = builder.sub(bits, code.integer(_bits_of(kind, kind.magic), bits))
        r = fma(-n, ln2_high, inside)
        s = fma(-n, ln2_low, r)
        q = series(taylor[2:], s)
        square = s * s
        t = fma(q, square, s)
        if not kind.keeps_lost:
            return whole, t, NOTHING
        return whole, t, fma(q, square, s - t) + fma(-n, ln2_low, r - s) * (1 + t)

    def excess_series(x: Any) -> Any:
        x = code.number(x)
        return x * x * series(beyond, x) if in_lanes else exponential.excess_series(x)

    def halves(n: Any) -> tuple[Number, Number]:
        half = builder.ashr(n, code.integer(1, n))  # 2^n may be out of range where e^x is not
        return power_of_two(half), power_of_two(builder.sub(n, half))

    def quick_exp(x: Number) -> Any:
        # what would be infinite is 8e307
        return quick_fading(where(x > 709.0, 709.0, x))

    def quick_fading(x: Number) -> Any:
        # within the normal numbers one step of the exponent will do: what is below them is 0 here.
        # A NaN goes through all of it, if it has nothing in the lowest digits: one of float32 or of
        # arithmetic has not
        shifted = fma(x, 1 / math.log(2), kind.magic)
        n = shifted - kind.magic
        s = fma(-n, ln2_low, fma(-n, ln2_high, x))
        y = fma(series(taylor[1:], s), s, 1)
        bits = code.bits(shifted)
        power = builder.shl(bits, code.integer(kind.shift, bits))
        y = code.of_bits(builder.add(code.bits(y), power))
        return where(x < -708.0, 0, y)

    def exp(x: Number) -> Any:
        if not kind.keeps_lost:
            return quick_exp(x)
        if in_lanes:
            return where(x > LARGEST, math.inf, in_one_step(x))
        n, t, low = exp_parts(x)
        high = 1 + t
        high = high + (((1 - high) + t) + low)
        first, second = halves(n)
        return where(x == x, (high * first) * second, x)

    def in_one_step(x: Number) -> Any:
        # e^x for x <= LARGEST; what is below the normal numbers is made 2^128 times as large before
        n, t, _ = exp_parts(x)
        smallest = code.number(-708.0)
        below = Flag(code, builder.fcmp_unordered("<", *code.together(x.value, smallest.value)))
        lift = builder.select(below.value, code.integer(128, n), code.integer(0, n))
        power = builder.shl(builder.add(n, lift), code.integer(kind.shift, n))
        y = code.of_bits(builder.add(code.bits(1 + t), power))
        return where(below, y * fma(t, 0, 2.0**-128), y)  # t may be NaN

    def fading(x: Any) -> Any:
        x = -code.number(x)
        if not in_lanes:
            return exp(x)
        return in_one_step(x) if kind.keeps_lost else quick_fading(x)

    def exp_error(x: Number) -> Any:
        if not kind.keeps_lost:
            return NOTHING
        n, t, low = exp_parts(x)
        high = 1 + t
        rest = ((1 - high) + t) + low
        lost = rest if in_lanes else (high - (high + rest)) + rest
        inside = absolute(x) < (700.0 if kind.digits == 53 else 60.0)
        return where(inside, lost * power_of_two(n), 0)

    def expm1(x: Number) -> Any:
        n, t, low = exp_parts(where(x > 710.0, 710.0, x) if in_lanes else x)
        a, b = halves(n)
        whole = a - 1 / b
        y = whole + a * t
        y = (y + (((whole - y) + a * t) + a * low)) * b
        at_zero = Flag(code, builder.icmp_signed("==", n, code.integer(0, n)))
        y = where(at_zero, t + low, y)
        y = where(x < (710.0 if kind.digits == 53 else 89.5), y, math.inf)
        return where((x == x) & (x != 0), y, x)

    def split(x: Number) -> tuple[Any, Number]:
        # (n, m): x = 2^n m with m from sqrt(1/2) to sqrt 2, of normal x > 0
        bits = code.bits(x)
        above = builder.sub(bits, code.integer(_bits_of(kind, least_mantissa(kind)), bits))
        power = builder.and_(above, code.integer(-1 << kind.shift, bits))
        n = builder.ashr(above, code.integer(kind.shift, bits))
        return n, code.of_bits(builder.sub(bits, power))

    def log_sum(high: Number, low: Any, shift: Any = None) -> Any:
        # log((high + low) / 2^shift) for normal high > 0 and |low| <= ulp(high)
        k, m = split(high)
        n = code.of_integer(k if shift is None else builder.sub(k, shift))
        f = m - 1
        s = f / (2 + f)
        z = s * s
        r = series(atanh, z) * z
        half_square = 0.5 * f * f
        if kind.keeps_lost and low is not NOTHING:
            low = low / high  # which is 1 wherever a digit of the quotient would matter to others
        correction = n * ln2_low if low is NOTHING else fma(n, ln2_low, low)
        inner = fma(s, half_square + r, correction)
        return n * ln2_high - ((half_square - inner) - f)

    def quick_log(x: Number) -> Any:
        # what is below the normal numbers is 0 here
        k, m = split(x)
        f = m - 1
        s = f / (2 + f)
        z = s * s
        y = fma(code.of_integer(k), math.log(2), fma(series(atanh, z) * z, s, s + s))
        y = where(x >= 2.0**-1022, y, where(x < 0, math.nan, -math.inf))
        return where(x < math.inf, y, x)

    def log(x: Number) -> Any:
        if in_lanes and not kind.keeps_lost:
            return quick_log(x)
        smallest, lift = 2.0 ** (1 - kind.bias), kind.digits + 1
        subnormal = x < smallest
        lifted = where(subnormal, x * 2.0**lift, x)
        lifts, none = (code.integer(n, subnormal.value) for n in (lift, 0))
        shift = builder.select(subnormal.value, lifts, none)
        y = log_sum(lifted, NOTHING, shift)
        y = where(x > 0, y, where(x == 0, -math.inf, math.nan))
        return where(x < math.inf, y, x)

    def log1p(x: Number) -> Any:
        u = 1 + x
        part = u - 1
        y = log_sum(u, (1 - (u - part)) + (x - part))
        y = where(x < math.inf, y, x)
        y = where(x > -1, y, where(x == -1, -math.inf, math.nan))
        return where((x == x) & (x != 0), y, x)

    def log1p_of_share(x: Any) -> Any:
        # 2 atanh(t / 2) with t = x / (1 + x / 2)
        x = code.number(x)
        if not in_lanes:
            return log1p(x)
        half = 0.5 * x
        below = 1 + half
        if not kind.keeps_lost:
            t = x / below
            return fma(series(unit, t * t) * (t * t), t, t)
        rate = 1 / below
        t = x * rate
        lost = (fma(-t, below, x) - t * (half - (below - 1))) * rate
        return t + fma(series(unit, t * t) * (t * t), t, lost)

    def raised(x: Number, exponent: Number) -> Number:
        if code.lanes == 1 or kind.keeps_lost:
            return code.raised(x, exponent)
        # for x >= 0; an exponent of 708 costs ten digits of two, of which enough are left
        return code.number(where(exponent == 0, 1, exp(exponent * log(x))))

    def power(x: Any, exponent: Any) -> Number:
        base, raised_to = code.number(x), code.number(exponent)
        return code.branch(
            raised_to == 2,
            lambda: base * base,
            lambda: code.branch(raised_to == 1, lambda: base, lambda: raised(base, raised_to)),
        )

    def product(mass: Any, x: Any) -> Any:
        if mass is NOTHING or x is NOTHING:
            return NOTHING
        mass, x = code.number(mass), code.number(x)
        if x.constant is not None and math.isfinite(x.constant):
            return mass * x
        return where(mass == 0, mass, mass * x)

    def quotient(mass: Any, x: Any) -> Any:
        if mass is NOTHING or x is NOTHING:
            return NOTHING
        mass = code.number(mass)
        return where(mass == 0, mass, mass / code.number(x))

    def sum_error(x: Any, y: Any) -> Any:
        if is_zero(x) or is_zero(y):
            return 0
        return followed(x, y) if kind.keeps_lost else NOTHING

    def followed(x: Any, y: Any) -> Number:
        total, lost = two_sum(code.number(x), code.number(y))
        return code.number(where(absolute(total) < math.inf, lost, 0))

    def product_error(x: Any, y: Any) -> Any:
        if not kind.keeps_lost:
            return NOTHING
        if is_zero(x) or is_zero(y):
            return 0
        first, second = code.number(x), code.number(y)
        rounded = first * second
        return where(absolute(rounded) < math.inf, fma(first, second, -rounded), 0)

    def ratio_error(
        numerator: Any, numerator_lost: Any, denominator: Any, denominator_lost: Any
    ) -> Any:
        # the remainder in one step, and no second division: of what was lost few digits matter
        above, below = code.number(numerator), code.number(denominator)
        rounded = above / below
        lost = code.number(numerator_lost)
        if not is_zero(denominator_lost):
            lost = lost - rounded * denominator_lost
        if below.constant != 1:
            lost = code.divide_roughly(fma(-rounded, below, above) + lost, below)
        return where(absolute(rounded) < math.inf, lost, 0)

    def plain_ratio(above: Any, above_lost: Any, below: Any, below_lost: Any) -> Any:
        return code.number(above) / below, NOTHING

    # at a kink, what is lost tells the side
    lost = {
        "ratio_error": lambda *numbers: NOTHING,
        "remainder": lambda *numbers: NOTHING,
        "lost_sum": lambda *numbers: NOTHING,
        "excess_over": read(hinge.excess_over, {"sum_error": followed}),
    }
    if not in_lanes:  # a reciprocal for several quotients would only wait in a register
        lost["ratio_parts"] = plain_ratio
    kept = {
        "ratio_error": ratio_error,
        "remainder": lambda above, ratio, below: fma(-code.number(ratio), below, above),
    }
    return (kept if kind.keeps_lost else lost) | {
        "where": where,
        "absolute": of_number(absolute),
        "exp": of_number(exp),
        "excess_series": excess_series,
        "fading": fading,
        "log1p_of_share": log1p_of_share,
        "exp_error": of_number(exp_error),
        "expm1": of_number(expm1),
        "log": of_number(log),
        "log1p": of_number(log1p),
        "power": power,
        "sqrt": of_number(lambda x: code.intrinsic("sqrt", x)),
        "product": product,
        "quotient": quotient,
        "sum_error": sum_error,
        "product_error": product_error,
        "TINY": kind.tiny,
    }


def _is_plain(x: Any) -> bool:
    """Whether it is a number as others are: what knows more (`refloss.formula.paired`) goes on."""
    return x is NOTHING or isinstance(x, Number | int | float)


def is_zero(x: Any) -> bool:
    """Whether it is known to be 0."""
    known = x.constant if isinstance(x, Number) else x
    return isinstance(known, int | float) and known == 0


def is_more(*arms: Any) -> bool:
    """Whether one of them is more than nothing and zero."""
    return any(x is not NOTHING and not is_zero(x) for x in arms)


def _bits_of(kind: Kind, x: float) -> int:
    """The bits of a power of two times 1.5."""
    mantissa, exponent = math.frexp(x)
    fraction = int((2 * mantissa - 1) * 2**kind.shift)
    return ((exponent - 1 + kind.bias) << kind.shift) | fraction
