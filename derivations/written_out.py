"""Definitions written out for a few rows and components, on one path through its branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy import Abs, AccumBounds, Expr, Integer, Max, Min, Piecewise, S, Sum, oo
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

from derivations.agreement import ANYTHING
from derivations.composition import Definition, Largest
from derivations.explorer import Path, as_sign
from derivations.facts import POSITIVE


class WrittenOut:
    """What expressions of defined symbols are, with definitions put in and sums written out.

    `given` says what some symbols and entries of arguments are: extents, labels, a component that
    is zero. At a kink each definition takes one of its arms, the same one wherever it is used.
    """

    def __init__(self, path: Path, where: Sequence[Definition], given: Mapping[Any, Any]) -> None:
        self.path, self.given = path, given
        self.definitions = {d.symbol: d for d in where}
        self.known: dict[Expr, Expr] = {}

    def __call__(self, expression: Any) -> Expr:
        e = sympy.sympify(expression)
        if e not in self.known:
            self.known[e] = self._written(e)
        return self.known[e]

    def _written(self, e: Expr) -> Expr:
        if e.is_Indexed:
            indices = tuple(map(self, e.indices))
            if e.base in self.definitions:
                left = e.base[indices]
                return self(self.definitions[e.base].at(*indices)) if left == e else self(left)
            return sympy.sympify(self.given.get(e.base[indices], e.base[indices]))
        if isinstance(e, Sum):
            return sympy.Add(*self._terms(e))
        if isinstance(e, Largest):
            return self.path.resolve(Max(0, *self._terms(e)))
        if isinstance(e, Piecewise):
            return self._piece(e)
        if isinstance(e, AccumBounds):
            if (e.min, e.max) == (-oo, oo):
                return ANYTHING
            return sympy.sympify((e.min, e.max)[self.path.pick([[], []])])
        if not e.args:
            return sympy.sympify(self.given.get(e, e))
        whole = e.func(*map(self, e.args))
        if isinstance(e, Abs | Max | Min | sympy.sign):
            return self.path.resolve(whole)
        if whole.is_Pow and not whole.exp.is_Integer:
            return self._power(whole)
        return whole

    def _power(self, power: Expr) -> Expr:
        if power.base == 0 and self.path.facts.sign(power.exp) == 1:
            return S.Zero
        self._under_root(power.base)
        return power

    def _under_root(self, base: Expr) -> None:
        """No sum of squares under a root is zero where no absolute value is."""
        facts = self.path.facts
        if facts.algebra.nonzero and base.is_nonnegative and facts.sign(base) is None:
            self.path.facts = facts.given(base, POSITIVE)

    def _terms(self, e: Any) -> list[Expr]:
        *inner, (index, low, high) = e.limits
        function = e.func(e.function, *inner) if inner else e.function
        places = range(int(self(low)), int(self(high)) + 1)
        return [self(function.xreplace({index: Integer(place)})) for place in places]

    def _piece(self, e: Piecewise) -> Expr:
        conditions = [self._condition(condition) for _, condition in e.args]
        values = [value for value, _ in e.args]
        if self.path.facts.algebra.nonzero and (sign := as_sign(values, conditions)) is not None:
            return self(sign)
        if e.args[-1][1] == S.true:
            conditions[-1] = sympy.Not(sympy.Or(*conditions[:-1]))
        return self(values[self.path.piece(conditions)])

    def _condition(self, condition: Any) -> Boolean:
        """A condition between written-out numbers; what is decided counts with its boundary.

        Between whole numbers, such as indices and extents, it is taken as it stands.
        """
        if not isinstance(condition, Relational):
            return condition.func(*map(self._condition, condition.args)) if condition.args else (
                condition
            )  # fmt: skip
        difference = self(condition.lhs) - self(condition.rhs)
        of_indices = all(symbol.is_integer for symbol in condition.free_symbols)
        if not difference.is_number or of_indices:
            return condition.func(difference, 0)
        if isinstance(condition, sympy.Gt | sympy.Ge):
            return sympy.sympify(difference >= 0)
        if isinstance(condition, sympy.Lt | sympy.Le):
            return sympy.sympify(difference <= 0)
        return condition.func(difference, 0)
