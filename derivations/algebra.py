"""Normal forms: expressions as rational functions of atoms, where equal means identically equal.

An *atom* stands for something that the algebra does not look into: a variable, e^m of a monomial
m, the logarithm of an irreducible polynomial, a sum over an index. e^u of a sum is a product of
atoms; the logarithm of a product a sum of them; a power x^g is e^(g log x). What is left is
a rational function, and it is zero exactly if its numerator, multiplied out, has no term once the
powers of every root n are reduced by what its q-th power is (|x| is a root: its square is x^2).

This is sound: an atom hides what is special about it, so a difference may fail to vanish though
it is zero, but never the other way round. Logarithms and powers are split into factors only where
each factor is known to be positive. Denominators are taken to be nonzero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, reduce
from operator import mul
from typing import Any

import sympy
from sympy import Abs, Dummy, Expr, Integer, KroneckerDelta, Rational, Sum, Symbol, exp, log
from sympy.polys.domains import QQ
from sympy.polys.fields import sfield
from sympy.polys.rings import ring

Sign = Callable[[Any], int | None]
Roots = dict[Symbol, tuple[int, Expr]]  # the degree of each root, and what its power is

_INDEX = Symbol("n", integer=True)
_ONE = Integer(1)


class Algebra:
    """The atoms of one proof.

    Parameters
    ----------
    positive, nonnegative : variables, or bases of indexed variables, of which this is known
    distinct : pairs of indices known to differ
    nonzero : whether every absolute value is known to be of a number other than zero
    """

    def __init__(
        self,
        positive: frozenset[Any] = frozenset(),
        nonnegative: frozenset[Any] = frozenset(),
        distinct: frozenset[frozenset[Any]] = frozenset(),
        *,
        nonzero: bool = False,
    ) -> None:
        self.known_positive = positive
        self.known_nonnegative = nonnegative
        self.distinct = distinct
        self.nonzero = nonzero
        self.atoms: dict[Expr, Symbol] = {}
        self.meaning: dict[Symbol, Expr] = {}
        self.roots: Roots = {}
        self.positive: set[Symbol] = set()
        self.nonnegative: set[Symbol] = set()

    def atom(self, meaning: Expr) -> Symbol:
        """The atom that stands for an expression (of variables and other atoms)."""
        if meaning not in self.atoms:
            symbol = Dummy(str(meaning))
            self.atoms[meaning] = symbol
            self.meaning[symbol] = meaning
            base = meaning.base if meaning.is_Indexed else meaning
            if isinstance(meaning, exp) or base in self.known_positive:
                self.positive.add(symbol)
            if base in self.known_nonnegative or isinstance(meaning, KroneckerDelta):
                self.nonnegative.add(symbol)
            if isinstance(meaning, Abs):
                (self.positive if self.nonzero else self.nonnegative).add(symbol)
            if isinstance(meaning, Sum) and self._positive_sum(meaning):
                self.positive.add(symbol)
        return self.atoms[meaning]

    def _positive_sum(self, total: Sum) -> bool:
        return all(map(self._positive_factor, sympy.Mul.make_args(total.function)))

    def _positive_factor(self, factor: Expr) -> bool:
        if isinstance(factor, exp) or factor in self.known_positive:
            return True
        if factor.is_Indexed:
            return factor.base in self.known_positive
        if factor.is_Pow:
            return self._positive_factor(factor.base)
        return self.nonzero and isinstance(factor, Abs)

    def root(self, meaning: Expr, degree: int, power: Expr) -> Symbol:
        """The atom of an expression whose power of that degree is known."""
        symbol = self.atom(meaning)
        self.roots[symbol] = (degree, power)
        return symbol

    def plain(self, expression: Expr) -> Expr:
        """The expression with every atom replaced by what it stands for."""
        while True:
            inside = {a: self.meaning[a] for a in expression.free_symbols if a in self.meaning}
            if not inside:
                return expression
            expression = expression.xreplace(inside)


@lru_cache(maxsize=1 << 16)
def fraction(expression: Expr) -> tuple[Any, Any]:
    """Numerator and denominator of a rational expression: coprime polynomials."""
    _, element = sfield(expression)
    return element.numer, element.denom


def factored(polynomial: Any) -> tuple[Any, list[tuple[Any, int]]]:
    """The content of a polynomial, and its irreducible factors with their powers."""
    if polynomial.is_ground:
        return polynomial.LC, []
    content, factors = polynomial.factor_list()
    return content, list(factors)


def is_zero(expression: Expr, roots: Roots | None = None) -> bool:
    """Whether a rational expression of atoms is identically zero.

    Its numerator over a common denominator is multiplied out; nothing is cancelled on the way.
    """
    powers = {} if roots is None else _that_occur(roots, expression)
    known = expression.free_symbols.union(*(power.free_symbols for _, power in powers.values()))
    symbols = sorted(known, key=lambda s: (s.name, s.sort_key()))
    if not symbols:
        return bool(expression == 0)
    numbers = ring([Dummy() for _ in symbols], QQ)[0]
    generators = dict(zip(symbols, numbers.gens, strict=True))
    above, _ = _over_common_denominator(expression, numbers, generators)
    for symbol, (degree, power) in reversed(powers.items()):
        if not above:
            break
        over, under = _over_common_denominator(power, numbers, generators)
        below = _product(under, numbers)
        above = _reduced(above, symbols.index(symbol), degree, over, below)
    return not above


def _that_occur(roots: Roots, expression: Expr) -> Roots:
    """The roots in an expression and in each other's powers, inner ones first."""
    found: Roots = {}
    occurring = set(expression.free_symbols)
    for symbol, (degree, power) in reversed(roots.items()):  # made later than what is inside
        if symbol in occurring:
            found[symbol] = (degree, power)
            occurring |= power.free_symbols
    return dict(reversed(found.items()))


def _reduced(polynomial: Any, place: int, degree: int, over: Any, below: Any) -> Any:
    """A polynomial, times a power of `below`, with a root's power ``degree`` put in."""
    parts: dict[int, dict[Any, Any]] = {}
    for exponents, coefficient in polynomial.terms():
        count, left = divmod(exponents[place], degree)
        key = (*exponents[:place], left, *exponents[place + 1 :])
        parts.setdefault(count, {})[key] = coefficient
    most = max(parts)
    numbers = polynomial.ring
    return sum(
        (
            numbers.from_dict(terms) * over**count * below ** (most - count)
            for count, terms in parts.items()
        ),
        numbers.zero,
    )


def _over_common_denominator(
    e: Expr, numbers: Any, generators: dict[Symbol, Any]
) -> tuple[Any, dict[Any, int]]:
    """A rational expression as a polynomial over a product of powers of polynomials."""
    if e.is_Rational:
        return numbers(QQ(e.p, e.q)), {}
    if e.is_Symbol:
        return generators[e], {}
    if e.is_Pow:
        above, below = _over_common_denominator(e.base, numbers, generators)
        count = int(e.exp)
        if count >= 0:
            return above**count, {factor: n * count for factor, n in below.items()}
        flipped = _product(below, numbers) ** -count
        if above.is_ground:
            return flipped / above.LC**-count, {}
        return flipped, {above: -count}
    parts = [_over_common_denominator(a, numbers, generators) for a in e.args]
    common: dict[Any, int] = {}
    if e.is_Mul:
        for _, below in parts:
            for factor, n in below.items():
                common[factor] = common.get(factor, 0) + n
        return reduce(mul, (above for above, _ in parts)), common
    for _, below in parts:
        for factor, n in below.items():
            common[factor] = max(common.get(factor, 0), n)
    total = numbers.zero
    for above, below in parts:
        missing = {factor: n - below.get(factor, 0) for factor, n in common.items()}
        total += above * _product(missing, numbers)
    return total, common


def _product(powers: dict[Any, int], numbers: Any) -> Any:
    return reduce(mul, (factor**n for factor, n in powers.items()), numbers.one)


def monomials(expression: Expr) -> Iterator[tuple[Rational, Expr]]:
    """The terms of a rational expression as (coefficient, the rest)."""
    if expression.is_Rational:
        if expression != 0:
            yield expression, _ONE
        return
    numerator, denominator = fraction(expression)
    content, factors_below = factored(denominator)
    number = Rational(str(content))
    below = reduce(mul, (f.as_expr() ** n for f, n in factors_below), _ONE)
    symbols = numerator.ring.symbols
    for exponents, coefficient in numerator.terms():
        factors = (s**n for s, n in zip(symbols, exponents, strict=True) if n)
        yield Rational(str(coefficient)) / number, reduce(mul, factors, _ONE) / below


class Normal:
    """Turns an expression into an equal one that is rational in atoms.

    `sign` tells the sign of a polynomial in atoms, or None.
    """

    def __init__(self, algebra: Algebra, sign: Sign) -> None:
        self.algebra, self.sign = algebra, sign
        self.done: dict[Expr, Expr] = {}

    def __call__(self, expression: Any) -> Expr:
        e = sympy.sympify(expression)
        if e not in self.done:
            self.done[e] = self._normal(e)
        return self.done[e]

    def _normal(self, e: Expr) -> Expr:
        if e.is_Rational or e in self.algebra.meaning:
            return e
        if isinstance(e, sympy.Float):
            raise TypeError(f"{e} is a rounded number; only exact ones can be proved about")
        if e.is_Symbol or e.is_Indexed:
            return self.algebra.atom(e)
        if e.is_Add or e.is_Mul:
            return e.func(*(self(a) for a in e.args))
        if isinstance(e, exp) or e == sympy.E:
            return self._exp(self(e.args[0] if e.args else _ONE))
        if isinstance(e, log):
            return self._log(self(e.args[0]))
        if e.is_Pow:
            if e.exp.is_Integer:
                return self(e.base) ** e.exp
            return self._exp(self(e.exp) * self._log(self(e.base)))
        if isinstance(e, KroneckerDelta):
            return self._delta(e)
        if isinstance(e, Sum):
            return self._sum(e)
        if isinstance(e, Abs):
            return self._absolute(self(e.args[0]))
        if isinstance(e, sympy.sign) and self.algebra.nonzero:
            return self(e.args[0]) / self(Abs(e.args[0]))
        raise TypeError(f"{type(e).__name__} has no normal form: {e}")

    def _exp(self, u: Expr) -> Expr:
        result: Expr = _ONE
        for coefficient, monomial in monomials(u):
            meaning = self.algebra.meaning.get(monomial)
            if isinstance(meaning, log) and coefficient.is_Integer:
                result *= meaning.args[0] ** coefficient
            else:
                result *= self._root_of_exp(monomial, coefficient.q) ** coefficient.p
        return result

    def _root_of_exp(self, monomial: Expr, degree: int) -> Symbol:
        """e^(monomial / degree)."""
        root = exp(monomial / degree, evaluate=False)
        if degree == 1 or root in self.algebra.atoms:
            return self.algebra.atom(root)
        meaning = self.algebra.meaning.get(monomial)
        power = meaning.args[0] if isinstance(meaning, log) else self._root_of_exp(monomial, 1)
        return self.algebra.root(root, degree, power)

    def _absolute(self, u: Expr) -> Expr:
        result: Expr = _ONE
        for polynomial, direction in zip(fraction(u), (1, -1), strict=True):
            content, factors = factored(polynomial)
            result *= abs(Rational(str(content))) ** direction
            for factor, power in factors:
                result *= self._absolute_factor(factor) ** (direction * power)
        return result

    def _absolute_factor(self, factor: Any) -> Expr:
        sign, expression = self.sign(factor), factor.as_expr()
        if sign is not None:
            return sign * expression
        return self.algebra.root(Abs(expression), 2, expression**2)

    def _log(self, u: Expr) -> Expr:
        result: Expr = Integer(0)
        unknown: Expr = _ONE
        positive = True
        for polynomial, direction in zip(fraction(u), (1, -1), strict=True):
            content, factors = factored(polynomial)
            number = Rational(str(content))
            positive ^= bool(number < 0)
            if number != 0:
                for prime, power in sympy.factorrat(abs(number)).items():
                    if prime != 1:
                        result += direction * power * self.algebra.atom(log(prime, evaluate=False))
            for factor, power in factors:
                count = direction * power
                sign = self.sign(factor)
                if sign is None and power % 2 == 0 and self.algebra.nonzero:
                    result += count * self._log_of_factor(self._absolute_factor(factor))
                    continue
                if sign is None:
                    unknown *= factor.as_expr() ** count
                    continue
                if sign < 0:
                    positive ^= bool(power % 2)
                    factor = -factor
                result += count * self._log_of_factor(factor.as_expr())
        if not positive:
            unknown = -unknown
        if unknown != 1:
            above, below = fraction(unknown)
            key = above.as_expr() / below.as_expr()
            if key.is_Rational:
                raise ValueError(f"the logarithm of {self.algebra.plain(u)}, which is negative")
            result += self.algebra.atom(log(key, evaluate=False))
        return result

    def _log_of_factor(self, factor: Expr) -> Expr:
        meaning = self.algebra.meaning.get(factor)
        if isinstance(meaning, exp):
            return meaning.args[0]
        return self.algebra.atom(log(factor, evaluate=False))

    def _delta(self, e: Expr) -> Expr:
        if frozenset(e.args) in self.algebra.distinct:
            return Integer(0)
        return self.algebra.atom(e)

    def _sum(self, e: Sum) -> Expr:
        (index, low, high), *more = e.limits
        if more:
            return self(Sum(Sum(e.function, e.limits[0]), *more))
        result: Expr = Integer(0)
        for coefficient, monomial in monomials(sympy.together(self(e.function))):
            outside, inside = coefficient, _ONE
            for factor in sympy.Mul.make_args(monomial):
                if index in self.algebra.plain(factor).free_symbols:
                    inside *= factor
                else:
                    outside *= factor
            result += outside * self._sum_of(self.algebra.plain(inside), index, low, high)
        return result

    def _sum_of(self, term: Expr, index: Symbol, low: Expr, high: Expr) -> Expr:
        if term == 1:
            return self(high - low + 1)
        for factor in sympy.Mul.make_args(term):
            delta = factor.base if factor.is_Pow else factor
            if isinstance(delta, KroneckerDelta):
                (other,) = set(delta.args) - {index}
                return self((term / factor).subs(index, other))
        if term.has(Sum):
            raise TypeError(f"a sum inside of a sum that does not come apart: {term}")
        return self.algebra.atom(Sum(term.subs(index, _INDEX), (_INDEX, low, high)))
