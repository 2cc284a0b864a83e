"""Whether two ways to a number agree, arm by arm; or, at a kink, lie between arms."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from itertools import combinations, permutations, product
from typing import Any

from sympy import Expr, FiniteSet, Interval, Rational, Symbol, oo

from derivations.algebra import Algebra
from derivations.explorer import Leaf, Path, explore
from derivations.facts import NONNEGATIVE, POSITIVE, ZERO, Facts
from derivations.obligations import RefutedError
from derivations.statement import Statement

Way = Callable[[Path], Expr]

ANYTHING = Symbol("anything", real=True)  # what a textbook says where every answer is right


def show_equal(
    working: Way, textbook: Way, facts: Facts, *, edges: bool = True, kink: bool = False
) -> str:
    """Show that the working way gives what the textbook says, on every arm.

    Without `edges`, only on arms that are open sets. With `kink` there is a kink everywhere: some
    symbol was given a value at which the textbook says several things.
    """
    arms = kinks = 0
    for leaf in explore(lambda path: (working(path), textbook(path)), facts):
        ours, theirs = leaf.outcome
        if not edges and leaf.facts.on_boundary:
            continue
        if leaf.facts.vanishes(ours - theirs):
            arms += 1
        else:
            _show_member(ours, textbook, leaf, kink)
            kinks += 1
    if not arms and not (kink and kinks):
        raise RefutedError("no arm can be reached")
    return counted(arms, "arm") + (f", {counted(kinks, 'kink')}" if kinks else "")


def _show_member(ours: Expr, textbook: Way, leaf: Leaf, kink: bool) -> None:
    """Show that a number lies between two of the textbook's arms that meet here."""
    facts = leaf.facts
    if not (kink or facts.on_boundary):
        raise RefutedError(f"where {facts}: {ours} is not {leaf.outcome[1]}")
    meeting = [
        other.outcome
        for other in explore(textbook, facts)
        if all(_implied(facts, f.expression, f.kind) for f in other.facts.facts)
    ]
    if any(other.has(ANYTHING) for other in meeting):
        return
    below = any(_at_least(facts, ours - other) for other in meeting)
    above = any(_at_least(facts, other - ours) for other in meeting)
    if not (below and above) and not _divides(facts, ours, meeting):
        raise RefutedError(f"where {facts}: {ours} is outside of what {meeting} span")


def _divides(facts: Facts, ours: Expr, meeting: list[Expr]) -> bool:
    """Whether a number lies half or a third of the way from one arm to another."""
    shares = (Rational(1, 2), Rational(1, 3))
    return any(
        facts.vanishes(ours - share * one - (1 - share) * other)
        for one, other in permutations(meeting, 2)
        for share in shares
    )


def _at_least(facts: Facts, difference: Expr) -> bool:
    return facts.vanishes(difference) or facts.at_least_zero(difference)


def _implied(facts: Facts, polynomial: Expr, kind: str) -> bool:
    expression = facts.algebra.plain(polynomial)
    if kind == ZERO:
        return facts.vanishes(expression)
    if kind == NONNEGATIVE:
        return _at_least(facts, expression)
    return facts.sign(expression) == 1


def show_derivative(function: Way, variable: Any, derivative: Way, facts: Facts) -> str:
    """Show that on every open arm one is the derivative of the other."""
    arms = 0
    for leaf in explore(lambda path: (function(path), derivative(path)), facts):
        if leaf.facts.on_boundary:
            continue
        value, slope = leaf.outcome
        if not leaf.facts.strictly().vanishes(value.diff(variable) - slope):
            raise RefutedError(
                f"where {leaf.facts}: the derivative of {value} by {variable} is not {slope}"
            )
        arms += 1
    if not arms:
        raise RefutedError("no arm can be reached")
    return counted(arms, "arm")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def domain(
    statement: Statement,
    *,
    fixed: Container[Any] = (),
    inside: Container[Any] = (),
    distinct: frozenset[frozenset[Any]] = frozenset(),
) -> Facts:
    """What the statement's domain says of its variables.

    Singular ends are left out, and so are those of variables that are said to lie `inside`; nothing
    is said of `fixed` ones.
    """
    positive: set[Any] = set()
    nonnegative: set[Any] = set()
    claims: list[tuple[Expr, str]] = []
    for variable, allowed in statement.domain.items():
        if variable in fixed or not isinstance(allowed, Interval):
            continue
        ends = statement.ends.get(variable, ())
        if variable in inside:
            ends = (allowed.start, allowed.end)
        low, high = allowed.start, allowed.end
        if low == 0:
            open_ = allowed.left_open or 0 in ends
            (positive if open_ else nonnegative).add(variable)
        elif low > -oo:
            claims.append((variable - low, POSITIVE if low in ends else NONNEGATIVE))
        if high < oo and isinstance(variable, Symbol):
            strict = allowed.right_open or high in ends
            claims.append((high - variable, POSITIVE if strict else NONNEGATIVE))
    facts = Facts(Algebra(frozenset(positive), frozenset(nonnegative), distinct))
    for expression, kind in claims:
        facts = facts.given(expression, kind)
    for variable in positive | nonnegative:
        if isinstance(variable, Symbol) and variable not in fixed:
            facts = facts.given(variable, POSITIVE if variable in positive else NONNEGATIVE)
    return facts


def divisions_of_domain(
    statement: Statement, named: Container[Any]
) -> Iterator[list[tuple[Facts, dict[Symbol, Expr]]]]:
    """The domain cut into parts: first whole, then into interior and closed ends of variables.

    A part is what is known there, and the variables that are at an end of their set.
    """
    finite = list(finite_choices(statement))
    closed: dict[Symbol, list[Expr]] = {}
    for variable, allowed in statement.domain.items():
        if isinstance(allowed, Interval) and variable in named:
            singular = statement.ends.get(variable, ())
            ends = [(allowed.start, allowed.left_open), (allowed.end, allowed.right_open)]
            closed[variable] = [e for e, o in ends if e.is_finite and not o and e not in singular]
    divided = [variable for variable, ends in closed.items() if ends]
    for count in range(len(divided) + 1):
        for split in combinations(divided, count):
            choices = [[None, *closed[variable]] for variable in split]
            yield [
                _part(statement, {**marks, **dict(zip(split, c, strict=True))})
                for marks in finite
                for c in product(*choices)
            ]


def finite_choices(statement: Statement) -> Iterator[dict[Symbol, Expr]]:
    """Every choice of the variables that take one of a few values, each by itself."""
    sets = {v: tuple(s) for v, s in statement.domain.items() if isinstance(s, FiniteSet)}
    for values in product(*sets.values()):
        yield dict(zip(sets, values, strict=True))


def _part(
    statement: Statement, at: Mapping[Symbol, Expr | None]
) -> tuple[Facts, dict[Symbol, Expr]]:
    fixed = {variable: end for variable, end in at.items() if end is not None}
    inside = [variable for variable, end in at.items() if end is None]
    return domain(statement, fixed=fixed, inside=inside), fixed
