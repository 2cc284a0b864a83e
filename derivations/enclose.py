"""SymPy expressions in exact arithmetic where it lasts and in balls where it does not.

A number is an exact rational (``fmpq``) until a transcendental function touches it, and an Arb ball
from then on; so ``exp(0)``, ``1/3 + 2/3 - 1`` and every polynomial loss are exact, and nothing is
ever a Python float. Comparisons of overlapping balls raise, unknown nodes raise, and a function at
its singularity raises :class:`Singular`, for the caller to take a limit.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import sympy
from flint import arb, ctx, fmpq
from sympy.printing.printer import Printer

from derivations.rounding import Uncertain

Number: TypeAlias = "fmpq | arb"
ZERO, ONE = fmpq(0), fmpq(1)
LONGEST = 1 << 20  # bits of a power that is still worked out exactly


class Singular(ArithmeticError):
    """The expression has no finite value at this point; its limit may have."""


class UnknownNode(TypeError):
    """The printer meets a SymPy node that it has no certain reading for."""


@functools.lru_cache(maxsize=1 << 18)
def _exp(x: fmpq, precision: int) -> arb:
    return arb(x).exp()


def exp(x: Number) -> Number:
    if isinstance(x, fmpq):
        return ONE if x == 0 else _exp(x, ctx.prec)
    return x.exp()


def log(x: Number) -> Number:
    if isinstance(x, fmpq):
        if x == 1:
            return ZERO
        if x <= 0:
            raise Singular(f"log({x})")
        return arb(x).log()
    if not less(ZERO, x):
        raise Singular(f"log({x})")
    return x.log()


def power(base: Number, exponent: Number) -> Number:
    """`base` to a rational power; 0 to the 0 is 1."""
    if isinstance(exponent, fmpq) and exponent.q == 1:
        if base == 0 and exponent < 0:
            raise Singular(f"{base} ** {exponent}")
        if isinstance(base, fmpq) and int(base.height_bits()) * abs(int(exponent.p)) > LONGEST:
            base = arb(base)
        return base ** int(exponent.p)
    if isinstance(base, fmpq):
        if base == 0:
            if less(ZERO, exponent):
                return ZERO
            raise Singular(f"{base} ** {exponent}")
        if base == 1:
            return ONE
        base = arb(base)
    return base ** arb(exponent)


def less(a: Number, b: Number) -> bool:
    if a < b:
        return True
    if a >= b:
        return False
    raise Uncertain(f"{a} < {b}")


def less_equal(a: Number, b: Number) -> bool:
    return not less(b, a)


def equal(a: Number, b: Number) -> bool:
    if isinstance(a, arb) or isinstance(b, arb):
        if less(a, b) or less(b, a):
            return False
        raise Uncertain(f"{a} == {b}")
    return bool(a == b)


def largest(numbers: Iterable[Number]) -> Number:
    """The maximum; of overlapping balls, a ball that holds it."""
    return functools.reduce(_larger, numbers)


def _larger(a: Number, b: Number) -> Number:
    if a < b:
        return b
    return a if a >= b else arb(a).max(b)


def smallest(numbers: Iterable[Number]) -> Number:
    """The minimum; of overlapping balls, a ball that holds it."""
    return -largest(-number for number in numbers)


def total(numbers: Iterable[Number]) -> Number:
    return sum(numbers, ZERO)


def piecewise(*arms: tuple[Callable[[], bool], Callable[[], Number]]) -> Number:
    for condition, arm in arms:
        if condition():
            return arm()
    raise Singular("no arm holds here")


_WORDS: dict[str, Any] = {
    "exp": exp, "log": log, "power": power, "less": less, "less_equal": less_equal,
    "equal": equal, "largest": largest, "smallest": smallest, "total": total,
    "piecewise": piecewise, "ZERO": ZERO, "ONE": ONE, "abs": abs, "range": range,
}  # fmt: skip


class NumberPrinter(Printer):  # type: ignore[misc]
    """Python source that evaluates an expression in rationals and balls.

    A ``Sum`` becomes a loop. One that depends on no index of an enclosing loop is computed once, in
    `head`, before the free index is known; one that depends on the free index alone, in `body`.
    """

    def __init__(self, index: sympy.Symbol | None = None) -> None:
        super().__init__()
        self.index = index
        self.loops: list[sympy.Symbol] = []
        self.head: list[str] = []
        self.body: list[str] = []
        self.sums: dict[sympy.Expr, str] = {}
        self.constants: dict[str, fmpq] = {}

    def emptyPrinter(self, expr: Any) -> str:
        raise UnknownNode(f"{type(expr).__name__}: {expr}")

    def _constant(self, value: fmpq) -> str:
        name = f"c{value.p}_{value.q}".replace("-", "m")
        self.constants[name] = value
        return name

    def _print_Rational(self, e: Any) -> str:
        return self._constant(fmpq(int(e.p), int(e.q)))

    _print_Integer = _print_Half = _print_Zero = _print_One = _print_NegativeOne = _print_Rational

    def _print_Float(self, e: Any) -> str:
        sign, mantissa, exponent, _ = e._mpf_
        value = fmpq((-1) ** sign * int(mantissa)) * fmpq(2) ** int(exponent)
        return self._constant(value)

    def _print_Symbol(self, e: Any) -> str:
        return str(e.name)

    def _print_Indexed(self, e: Any) -> str:
        (index,) = e.indices
        position = int(index) if index.is_Integer else self._print(index)
        return f"{e.base.label.name}[{position}]"

    def _print_Add(self, e: Any) -> str:
        return "(" + " + ".join(self._print(a) for a in e.args) + ")"

    def _print_Mul(self, e: Any) -> str:
        return "(" + "*".join(self._print(a) for a in e.args) + ")"

    def _print_Pow(self, e: Any) -> str:
        return f"power({self._print(e.base)}, {self._print(e.exp)})"

    def _print_exp(self, e: Any) -> str:
        return f"exp({self._print(e.args[0])})"

    def _print_Exp1(self, e: Any) -> str:
        return "exp(ONE)"

    def _print_log(self, e: Any) -> str:
        return f"log({self._print(e.args[0])})"

    def _print_Abs(self, e: Any) -> str:
        return f"abs({self._print(e.args[0])})"

    def _print_Max(self, e: Any) -> str:
        return f"largest([{', '.join(self._print(a) for a in e.args)}])"

    def _print_Min(self, e: Any) -> str:
        return f"smallest([{', '.join(self._print(a) for a in e.args)}])"

    def _print_KroneckerDelta(self, e: Any) -> str:
        a, b = (self._print(i) for i in e.args)
        return f"(ONE if {a} == {b} else ZERO)"

    def _print_Piecewise(self, e: Any) -> str:
        arms = (f"(lambda: {self._print(c)}, lambda: {self._print(v)})" for v, c in e.args)
        return f"piecewise({', '.join(arms)})"

    def _print_BooleanTrue(self, e: Any) -> str:
        return "True"

    def _print_StrictLessThan(self, e: Any) -> str:
        return f"less({self._print(e.lhs)}, {self._print(e.rhs)})"

    def _print_LessThan(self, e: Any) -> str:
        return f"less_equal({self._print(e.lhs)}, {self._print(e.rhs)})"

    def _print_StrictGreaterThan(self, e: Any) -> str:
        return f"less({self._print(e.rhs)}, {self._print(e.lhs)})"

    def _print_GreaterThan(self, e: Any) -> str:
        return f"less_equal({self._print(e.rhs)}, {self._print(e.lhs)})"

    def _print_Equality(self, e: Any) -> str:
        return f"equal({self._print(e.lhs)}, {self._print(e.rhs)})"

    def _print_And(self, e: Any) -> str:
        return "(" + " and ".join(self._print(a) for a in e.args) + ")"

    def _print_Or(self, e: Any) -> str:
        return "(" + " or ".join(self._print(a) for a in e.args) + ")"

    def _print_Sum(self, e: Any) -> str:
        if e in self.sums:
            return self.sums[e]
        ((i, low, high),) = e.limits
        self.loops.append(i)
        summand = self._print(e.function)
        self.loops.pop()
        last = self._print_bound(high)
        code = f"total({summand} for {i.name} in range({int(low)}, {last} + 1))"
        if any(loop in e.free_symbols for loop in self.loops):
            return code
        name = f"sum{len(self.sums)}"
        place = self.body if self.index is not None and self.index in e.free_symbols else self.head
        place.append(f"{name} = {code}")
        self.sums[e] = name
        return name

    def _print_bound(self, bound: sympy.Expr) -> str:
        """The last index of a sum, in integers: ``C - 1``."""
        offset, symbol = bound.as_coeff_Add()
        return f"{symbol.name}_ + {int(offset)}" if symbol else str(int(offset))


Evaluator: TypeAlias = "Callable[..., Callable[..., tuple[Number, ...]]]"


@functools.cache
def compiled(
    terms: tuple[sympy.Expr, ...],
    parameters: tuple[sympy.Symbol | sympy.IndexedBase, ...],
    index: sympy.Symbol | None = None,
    classes: sympy.Symbol | None = None,
) -> Evaluator:
    """A function of `parameters` that returns a function of the free index that gives the terms.

    Scalars come as numbers, indexed parameters as sequences of numbers; the number of classes is
    passed as a number, and as the Python integer ``C_`` that loops run to.
    """
    printer = NumberPrinter(index)
    results = [printer.doprint(term) for term in terms]
    names = [str(getattr(p, "label", p)) for p in parameters]
    if classes is not None:
        printer.head.insert(0, f"{classes.name}_ = int({classes.name}.p)")
    free = "" if index is None else index.name
    lines = [
        f"def outer({', '.join(names)}):",
        *(f"    {line}" for line in printer.head),
        f"    def inner({free}):",
        *(f"        {line}" for line in printer.body),
        f"        return ({', '.join(results)},)",
        "    return inner",
    ]
    namespace = {**_WORDS, **printer.constants}
    exec("\n".join(lines), namespace)
    outer: Callable[..., Callable[..., tuple[Number, ...]]] = namespace["outer"]
    return outer


def rational(x: float) -> fmpq:
    """A finite float, exactly."""
    return fmpq(*x.as_integer_ratio())


def constant(expression: sympy.Expr) -> Number:
    """The number that an expression without symbols stands for."""
    (number,) = compiled((expression,), ())()()
    return number


def doubling(first: int = 128, limit: int = 1 << 15) -> Iterable[int]:
    """Working precisions to try, in turn."""
    return itertools.takewhile(lambda p: p <= limit, (first << n for n in itertools.count()))


def enclose(
    evaluate: Callable[[], Sequence[Number]], precisions: Iterable[int]
) -> Iterable[tuple[int, Sequence[Number]]]:
    """What `evaluate` gives at each precision, skipping those at which it is uncertain."""
    for precision in precisions:
        with ctx.workprec(precision):
            try:
                yield precision, evaluate()
            except Uncertain:
                continue
