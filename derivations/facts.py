"""What is known on a path: inequalities between polynomials, and what follows from them.

The conclusions are those of linear arithmetic, with every monomial as an unknown of its own
(Fourier and Motzkin's elimination over the rationals). It may fail to see that a set
of facts contradicts itself, but when it says so it is true; a path is only ever dropped on
such a contradiction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from typing import Any

import sympy
from sympy import Expr, Symbol

from derivations.algebra import Algebra, Normal, factored, fraction, is_zero

Monomial = tuple[tuple[Symbol, int], ...]
Linear = dict[Monomial, Fraction]
POSITIVE, NONNEGATIVE, ZERO = ">", ">=", "="

_UNIT: Monomial = ()
_MOST = 400  # inequalities in one elimination; beyond that nothing is concluded


@dataclass(frozen=True)
class Fact:
    """A polynomial in atoms that is > 0, >= 0 or = 0."""

    expression: Expr
    kind: str

    @cached_property
    def linear(self) -> Linear:
        return linear(fraction(self.expression)[0])

    def __str__(self) -> str:
        return f"{self.expression} {self.kind} 0"


class UndecidedError(ArithmeticError):
    """A sign that the facts do not tell."""


class Facts:
    """An algebra and what is known about its atoms."""

    def __init__(self, algebra: Algebra, facts: Sequence[Fact] = ()) -> None:
        self.algebra, self.facts = algebra, tuple(facts)
        self._signs: dict[Any, int | None] = {}
        self.normal = Normal(algebra, self._polynomial_sign)

    def given(self, expression: Expr, kind: str) -> Facts:
        """The facts and one more: that the expression is > 0, >= 0 or = 0."""
        numerator, denominator = fraction(self.normal(expression))
        below = self._sign_of_nonzero(denominator)
        if kind != ZERO and not below:
            raise UndecidedError(f"the sign of {self.algebra.plain(denominator.as_expr())}")
        fact = Fact(numerator.as_expr() * (1 if kind == ZERO else below), kind)
        trivial = kind != POSITIVE and not fact.linear  # as a fact it would look like an edge
        return self if trivial or fact in self.facts else Facts(self.algebra, (*self.facts, fact))

    def _sign_of_nonzero(self, polynomial: Any) -> int | None:
        """The sign of what is not zero: an even power is positive then."""
        sign = self._polynomial_sign(polynomial)
        if sign is not None:
            return sign
        content, factors = factored(polynomial)
        sign = 1 if content > 0 else -1
        for factor, power in factors:
            of_factor = 1 if power % 2 == 0 else self._polynomial_sign(factor)
            if of_factor is None:
                return None
            sign *= of_factor
        return sign

    def strictly(self) -> Facts:
        """The same facts without their boundaries."""
        kinds = {NONNEGATIVE: POSITIVE}
        strict = (Fact(f.expression, kinds.get(f.kind, f.kind)) for f in self.facts)
        return Facts(self.algebra, tuple(strict))

    @property
    def contradictory(self) -> bool:
        """Whether nothing satisfies the facts."""
        return self.refutes({_UNIT: Fraction(1)}, POSITIVE)

    def refutes(self, polynomial: Linear, kind: str) -> bool:
        """Whether one more inequality would contradict the facts."""
        rows = [*((f.linear, f.kind) for f in self.facts), (polynomial, kind)]
        positive, nonnegative = self._signed_atoms()
        if _contradict(rows, positive, nonnegative):
            return True
        mixed = {m for row, _ in rows for m in row if len(m) > 1}
        factors = {a for m in mixed for a, _ in m} & positive
        products = [
            ({_times(m, atom): c for m, c in f.linear.items()}, f.kind)
            for f in self.facts
            for atom in factors
            if f.kind != ZERO and not f.linear.keys() <= {_UNIT, ((atom, 1),)}
        ]
        products = [(row, k) for row, k in products if row.keys() & mixed]
        return bool(products) and _contradict([*rows, *products], positive, nonnegative)

    def _signed_atoms(self) -> tuple[set[Symbol], set[Symbol]]:
        positive = set(self.algebra.positive)
        nonnegative = set(self.algebra.nonnegative)
        for f in self.facts:
            if len(f.linear) == 1 and f.kind != ZERO:
                ((monomial, coefficient),) = f.linear.items()
                if coefficient > 0 and len(monomial) == 1 and monomial[0][1] == 1:
                    (positive if f.kind == POSITIVE else nonnegative).add(monomial[0][0])
        return positive, nonnegative

    def denies(self, expression: Expr, kind: str) -> bool:
        """Whether the signs of its factors say that the expression is not > 0, >= 0 or = 0.

        Asked for where lengths are multiplied, which are known not to be zero.
        """
        if not self.algebra.nonzero:
            return False
        numerator, _ = fraction(self.normal(expression))
        factors = factored(numerator)[1]
        if sum(power for _, power in factors) < 2:
            return False  # nothing beyond what a contradiction between polynomials shows
        sign = self.sign(expression)
        wanted = {POSITIVE: (1,), NONNEGATIVE: (0, 1), ZERO: (0,)}[kind]
        return sign is not None and sign not in wanted

    def sign(self, expression: Expr) -> int | None:
        """-1, 0 or 1; None where the facts do not tell."""
        above, below = (self._polynomial_sign(p) for p in fraction(self.normal(expression)))
        return None if above is None or below is None else above * below

    def _polynomial_sign(self, polynomial: Any) -> int | None:
        key = polynomial.as_expr()
        if key not in self._signs:
            self._signs[key] = self._find_sign(polynomial)
        return self._signs[key]

    def _find_sign(self, polynomial: Any) -> int | None:
        form = linear(polynomial)
        if not form:
            return 0
        if form.keys() == {_UNIT}:
            return 1 if form[_UNIT] > 0 else -1
        minus = {m: -c for m, c in form.items()}
        if self.refutes(minus, NONNEGATIVE):
            return 1
        if self.refutes(form, NONNEGATIVE):
            return -1
        if self.refutes(minus, POSITIVE) and self.refutes(form, POSITIVE):
            return 0
        content, factors = factored(polynomial)
        if len(factors) == 1 and factors[0][1] == 1:
            return None
        sign = 1 if content > 0 else -1
        for factor, power in factors:
            of_factor = self._polynomial_sign(factor)
            even = power % 2 == 0 and self.algebra.nonzero
            if of_factor is None and even and (len(factors), power) != (1, 2):
                of_factor = self._polynomial_sign(factor**2)  # x may be known not to be zero
            if of_factor is None:
                return None
            sign *= of_factor**power
        return sign

    def at_least_zero(self, expression: Expr) -> bool:
        """Whether the facts say that the expression is >= 0."""
        above, below = fraction(self.normal(expression))
        sign = self._sign_of_nonzero(below)
        if not sign:
            return False
        return self.refutes({m: -c * sign for m, c in linear(above).items()}, POSITIVE)

    def vanishes(self, expression: Expr) -> bool:
        """Whether the expression is zero, also by the equations that the facts imply."""
        difference = self.normal(expression)
        if is_zero(difference, self.algebra.roots):
            return True
        plain = self.algebra.plain(difference)
        for symbol, root in self.equations():
            plain = plain.subs(symbol, root)
            if is_zero(self.normal(plain), self.algebra.roots):
                return True
        return False

    def equations(self) -> Iterator[tuple[Expr, Expr]]:
        """Variables, sums and absolute values that the facts determine, and by what."""
        known: dict[Expr, Expr] = {}
        for fact in self.facts:
            if fact.kind == POSITIVE:
                continue
            if fact.kind == NONNEGATIVE and not self.refutes(fact.linear, POSITIVE):
                continue
            equation = self.algebra.plain(fact.expression)
            for symbol, root in known.items():
                equation = equation.subs(symbol, root)
            whole = equation.atoms(sympy.Sum, sympy.Abs)
            unknowns = sorted(whole, key=str) + sorted(equation.free_symbols, key=str)
            for symbol in unknowns:
                place = sympy.Dummy()
                slope = equation.xreplace({symbol: place}).diff(place)
                if slope.is_Rational and slope != 0:
                    root = sympy.expand(symbol - equation / slope)
                    known[symbol] = root
                    yield symbol, root
                    break

    @property
    def on_boundary(self) -> bool:
        """Whether the facts leave no open set, but an edge."""
        return self.strictly().contradictory

    def __str__(self) -> str:
        return " and ".join(f"{self.algebra.plain(f.expression)} {f.kind} 0" for f in self.facts)


def _contradict(
    rows: Sequence[tuple[Linear, str]], positive: set[Symbol], nonnegative: set[Symbol]
) -> bool:
    """Whether inequalities contradict each other, with what is known of each monomial's sign."""
    signs = []
    for monomial in dict.fromkeys(m for row, _ in rows for m in row if m != _UNIT):
        if all(a in positive for a, _ in monomial):
            signs.append(({monomial: Fraction(1)}, POSITIVE))
        elif all(n % 2 == 0 or a in positive or a in nonnegative for a, n in monomial):
            signs.append(({monomial: Fraction(1)}, NONNEGATIVE))
    written = tuple((tuple(row.items()), kind) for row, kind in [*rows, *signs])
    return _known_infeasible(written)


@lru_cache(maxsize=1 << 16)
def _known_infeasible(
    written: tuple[tuple[tuple[tuple[Monomial, Fraction], ...], str], ...],
) -> bool:
    """Asked once: paths that fork late have most of their questions in common."""
    return infeasible([(dict(row), kind) for row, kind in written])


def _times(monomial: Monomial, atom: Symbol) -> Monomial:
    powers = dict(monomial)
    powers[atom] = powers.get(atom, 0) + 1
    return _sorted(powers)


def _sorted(powers: Mapping[Symbol, int]) -> Monomial:
    return tuple(sorted(powers.items(), key=lambda item: item[0].sort_key()))


@lru_cache(maxsize=1 << 16)
def linear(polynomial: Any) -> Linear:
    """The coefficients of a polynomial, by monomial."""
    symbols = polynomial.ring.symbols
    return {
        _sorted({s: n for s, n in zip(symbols, exponents, strict=True) if n}): Fraction(
            int(c.numerator), int(c.denominator)
        )
        for exponents, c in polynomial.terms()
    }


def infeasible(rows: Sequence[tuple[Linear, str]]) -> bool:
    """Whether no numbers for the monomials satisfy every row; False where that is not found out."""
    system = _without_equations(list(rows))
    while True:
        for row, kind in system:
            if not any(m != _UNIT and c for m, c in row.items()):
                constant = row.get(_UNIT, Fraction(0))
                if constant < 0 or (constant == 0 and kind == POSITIVE):
                    return True
                if kind == ZERO and constant != 0:
                    return True
        system = [(r, k) for r, k in system if any(m != _UNIT and c for m, c in r.items())]
        if not system or len(system) > _MOST:
            return False
        system = _eliminate(system, _cheapest(system))


def _without_equations(system: list[tuple[Linear, str]]) -> list[tuple[Linear, str]]:
    done: list[tuple[Linear, str]] = []
    rest = sorted(system, key=lambda item: item[1] != ZERO)
    while rest:
        row, kind = rest.pop(0)
        pivot = next((m for m, c in row.items() if m != _UNIT and c), None)
        if kind != ZERO or pivot is None:
            done.append((row, kind))
            continue
        rest = [(_combined(r, row, -r.get(pivot, Fraction(0)) / row[pivot]), k) for r, k in rest]
    return done


def _combined(row: Linear, other: Linear, factor: Fraction) -> Linear:
    out = dict(row)
    for m, c in other.items():
        out[m] = out.get(m, Fraction(0)) + factor * c
    return {m: c for m, c in out.items() if c}


def _cheapest(system: list[tuple[Linear, str]]) -> Monomial:
    """The unknown without which the fewest inequalities are left; of several, the first by name."""
    above, below = Counter[Monomial](), Counter[Monomial]()
    for row, _ in system:
        for m, c in row.items():
            if m != _UNIT and c:
                above[m] += c > 0
                below[m] += c < 0
    least = min(above[m] * below[m] for m in above)
    return min((m for m in above if above[m] * below[m] == least), key=_name)


@cache
def _name(monomial: Monomial) -> str:
    return str(monomial)


def _eliminate(system: list[tuple[Linear, str]], unknown: Monomial) -> list[tuple[Linear, str]]:
    above = [(r, k) for r, k in system if r.get(unknown, 0) > 0]
    below = [(r, k) for r, k in system if r.get(unknown, 0) < 0]
    rest = [(r, k) for r, k in system if not r.get(unknown, 0)]
    seen = {(frozenset(r.items()), k) for r, k in rest}
    for up, up_kind in above:
        for down, down_kind in below:
            row = _combined({m: c / up[unknown] for m, c in up.items()}, down, -1 / down[unknown])
            kind = POSITIVE if POSITIVE in (up_kind, down_kind) else NONNEGATIVE
            key = (frozenset(row.items()), kind)
            if key not in seen:
                seen.add(key)
                rest.append((row, kind))
    return rest
