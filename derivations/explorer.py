"""Every path through the branches of a formula or of a textbook statement.

Comparisons that the facts do not decide fork the path, and each branch learns what it has
assumed. A branch whose assumptions contradict what is known is dropped; `Facts` says so only with
a proof. Two arms that are identically equal need no fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Abs, Expr, Max, Min, Piecewise, Rel, S

from derivations.facts import NONNEGATIVE, POSITIVE, ZERO, Facts, UndecidedError
from refloss.formula.distance import sign
from refloss.formula.exponential import excess_series
from refloss.formula.reading import Formula, read
from refloss.formula.symbols import Condition, Quantity, meaning

_NO_NUMBERS = (sympy.oo, -sympy.oo, sympy.zoo, sympy.nan)

Claim = tuple[Expr, str]  # (expression, kind): the expression is > 0, >= 0 or = 0
Function = Callable[["Path"], Any]


@dataclass(frozen=True)
class Leaf:
    """The end of a path: what it assumed, and what came out."""

    facts: Facts
    outcome: Any


class UncoveredError(Exception):
    """The textbook says nothing about a part of its domain."""


class _DeadEndError(Exception):
    """The facts leave no way on."""


class Path:
    """One way through the branches: the facts so far, and the turns yet to take."""

    def __init__(self, facts: Facts, turns: Sequence[int]) -> None:
        self.facts = facts
        self.turns = list(turns)
        self.taken: list[int] = []
        self.untaken: list[list[int]] = []
        self.forkless = False

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """Where an index is bound, no decision about it may become a fact."""
        before, self.forkless = self.forkless, True
        try:
            yield
        finally:
            self.forkless = before

    def pick(self, options: Sequence[Sequence[Claim]]) -> int:
        """One of several sets of claims, assumed from here on; the others are walked later."""
        if len(self.taken) < len(self.turns):
            turn = self.turns[len(self.taken)]
            self.facts = self._after(options[turn])
        else:
            open_ = [(n, facts) for n, claims in enumerate(options)
                     if not any(self.facts.denies(*claim) for claim in claims)
                     and not (facts := self._after(claims)).contradictory]  # fmt: skip
            if not open_:
                raise _DeadEndError
            if self.forkless and len(open_) > 1:
                raise UndecidedError("inside of a sum, a branch that depends on the index")
            for n, _ in open_[1:]:
                self.untaken.append([*self.taken, n])
            turn, self.facts = open_[0]
        self.taken.append(turn)
        return turn

    def _after(self, claims: Sequence[Claim]) -> Facts:
        facts = self.facts
        for expression, kind in claims:
            facts = facts.given(expression, kind)
        return facts

    def holds(self, condition: Condition) -> bool:
        """Whether the condition holds on this path."""
        d = self.resolve(condition.difference)
        relation = condition.relation
        if d is S.NaN:  # an infinity less itself
            return (relation != ">") != condition.opposite
        if relation == "==":
            turn = self.pick([[(d, ZERO)], [(d, POSITIVE)], [(-d, POSITIVE)]])
        elif relation == ">":
            turn = self.pick([[(d, POSITIVE)], [(-d, NONNEGATIVE)]])
        else:
            turn = self.pick([[(d, NONNEGATIVE)], [(-d, POSITIVE)]])
        return (turn == 0) != condition.opposite

    def select(self, condition: Condition, chosen: Expr, otherwise: Expr) -> Expr:
        """The arm of ``where``."""
        if chosen == otherwise or self._same(chosen, otherwise):
            return chosen
        return chosen if self.holds(condition) else otherwise

    def _same(self, a: Expr, b: Expr) -> bool:
        if any(e.has(Abs, *_NO_NUMBERS) for e in (a, b)):
            return False
        return self.facts.vanishes(a - b)

    def resolve(self, expression: Expr) -> Expr:
        """The expression without absolute values, maxima and pieces.

        Where pieces have explicit conditions, every piece is walked whose closure can be reached:
        at a kink the textbook says several things. Absolute values of numbers that are known not to
        be zero stay, as atoms.
        """
        if not expression.has(Abs, Max, Min, Piecewise, sympy.sign):
            return expression
        if isinstance(expression, Piecewise):
            return self._piece(expression)
        e = expression.func(*(self.resolve(a) for a in expression.args))
        if isinstance(e, Abs | sympy.sign) and self.facts.algebra.nonzero:
            return e
        if isinstance(e, Abs):
            inside = e.args[0]
            return inside if self.holds(Condition(inside, ">=")) else -inside
        if isinstance(e, sympy.sign):
            return self._sign(e.args[0])
        if isinstance(e, Max | Min):
            best, *rest = e.args
            for other in rest:
                larger = self.holds(Condition(best - other, ">="))
                best = best if larger == isinstance(e, Max) else other
            return best
        return e

    def _sign(self, inside: Expr) -> Expr:
        turn = self.pick([[(inside, ZERO)], [(inside, POSITIVE)], [(-inside, POSITIVE)]])
        return S((0, 1, -1)[turn])

    def _piece(self, piecewise: Piecewise) -> Expr:
        values = [value for value, _ in piecewise.args]
        conditions = [condition for _, condition in piecewise.args]
        if self.facts.algebra.nonzero and (sign := as_sign(values, conditions)) is not None:
            return self.resolve(sign)
        if conditions[-1] == S.true:
            conditions[-1] = sympy.Not(sympy.Or(*conditions[:-1]))
        return self.resolve(values[self.piece(conditions)])

    def piece(self, conditions: Sequence[Any]) -> int:
        """One of several conditions, where the closure of one may overlap with that of another."""
        options: list[list[Claim]] = []
        numbers: list[int] = []
        for number, condition in enumerate(conditions):
            for claims in self._claims(condition):
                options.append([(e, ZERO if k == ZERO else NONNEGATIVE) for e, k in claims])
                numbers.append(number)
        for claims in self._claims(sympy.Not(sympy.Or(*map(_closure, conditions)))):
            options.append(claims)
            numbers.append(-1)
        number = numbers[self.pick(options)]
        if number < 0:
            raise UncoveredError(f"none of {conditions} covers {self.facts}")
        return number

    def _claims(self, condition: Any) -> list[list[Claim]]:
        """A condition as alternatives, each a list of claims."""
        if condition == S.false:
            return []
        bare = condition.replace(lambda e: isinstance(e, Rel), self._bare)
        flat = sympy.to_dnf(bare, simplify=False)
        found: list[list[Claim]] = []
        for alternative in sympy.Or.make_args(flat):
            claims: list[list[Claim]] = [[]]
            for part in sympy.And.make_args(alternative):
                claims = [[*c, *more] for c in claims for more in _of_relation(part)]
            found += claims
        return found

    def _bare(self, relation: Any) -> Any:
        return relation.func(*(self.resolve(side) for side in relation.args))


def as_sign(values: Sequence[Expr], conditions: Sequence[Any]) -> Expr | None:
    """a sign(x), if that is what values of a above x = 0 and of -a below say."""
    if len(values) != 2 or values[0] + values[1] != 0:
        return None
    above, below = (
        c.gts - c.lts if isinstance(c, sympy.Gt | sympy.Lt) else None for c in conditions
    )
    if above is None or below is None or sympy.expand(above + below) != 0:
        return None
    return values[0] * sympy.sign(above)


def _closure(condition: Any) -> Any:
    """The condition with its boundary."""
    if isinstance(condition, sympy.And | sympy.Or):
        return condition.func(*(_closure(part) for part in condition.args))
    match condition:
        case sympy.Gt():
            return sympy.Ge(*condition.args, evaluate=False)
        case sympy.Lt():
            return sympy.Le(*condition.args, evaluate=False)
        case sympy.Ne():
            return S.true
    return condition


def _of_relation(part: Any) -> list[list[Claim]]:
    if part == S.true:
        return [[]]
    if part == S.false:
        return []
    d = part.lhs - part.rhs
    match part:
        case sympy.Gt():
            return [[(d, POSITIVE)]]
        case sympy.Ge():
            return [[(d, NONNEGATIVE)]]
        case sympy.Lt():
            return [[(-d, POSITIVE)]]
        case sympy.Le():
            return [[(-d, NONNEGATIVE)]]
        case sympy.Eq():
            return [[(d, ZERO)]]
        case sympy.Ne():
            return [[(d, POSITIVE)], [(-d, POSITIVE)]]
    raise TypeError(f"{part} is no comparison")


def explore(function: Function, facts: Facts) -> Iterator[Leaf]:
    """The outcome of ``function(path)`` on every path that the facts leave open."""
    waiting: list[list[int]] = [[]]
    while waiting:
        path = Path(facts, waiting.pop())
        try:
            outcome = function(path)
        except _DeadEndError:
            continue
        finally:
            waiting += path.untaken
        yield Leaf(path.facts, outcome)


def formula_on(path: Path, formula: Formula, quantities: Mapping[str, Expr]) -> Expr:
    """A working formula on a path, as an expression of its quantities (by parameter name)."""
    names = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    bound = read(formula, meaning(path), finish=over_the_reals)
    outcome = bound(*(Quantity(sympy.sympify(quantities[name])) for name in names))
    expression = outcome.expression if isinstance(outcome, Quantity) else sympy.sympify(outcome)
    return path.resolve(expression)


def over_the_reals(formula: Formula) -> Formula:
    """A series stands for its sum, and a sign for what it is.

    `derivations.bounds` and `derivations.chain_proofs` show that they may.
    """
    known = {
        (excess_series.__module__, excess_series.__name__): lambda x: sympy.exp(x) - 1 - x,
        (sign.__module__, sign.__name__): sympy.sign,
    }
    meant = known.get((formula.__module__, formula.__name__))
    return formula if meant is None else lambda x: Quantity(meant(x.expression))
