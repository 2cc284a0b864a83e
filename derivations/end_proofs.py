"""Obligations at the singular ends of a domain: the formula gives the limit of the textbook.

At p = 0 a logarithm is infinite and a quotient has no value. There the working formula, with its
masses of zero that silence what they multiply, must be what the textbook tends to from inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Interval, S, Symbol, limit, nan, oo

from derivations.agreement import counted
from derivations.algebra import Algebra
from derivations.element_proofs import differentiable
from derivations.explorer import explore, formula_on
from derivations.facts import Facts
from derivations.obligations import Obligation, RefutedError
from derivations.row_proofs import Place, symbolic_block
from derivations.statement import Statement
from refloss.evaluation import Plan
from refloss.formula.reading import Formula

_inside = Symbol("epsilon", positive=True)  # how far from the end
Point = Mapping[Any, Expr]
Moving = tuple[Any, Expr]


def obligations(
    name: str, statement: Statement, plan: Plan, quantities: Mapping[str, Any]
) -> Iterator[Obligation]:
    """For every singular end: the value and each derivative."""
    if not statement.ends:
        return
    claims: list[tuple[str, Formula | None, Expr]] = [("value", None, statement.textbook)]
    for part, argument, derivative in differentiable(plan):
        stated = Add(*getattr(statement, part)[argument])
        claims.append((f"{part} in {argument}", derivative, stated))
    at_ends = _of_elements if statement.index is None else _of_rows
    for what, formula, stated in claims:
        show = at_ends(statement, plan, quantities, formula, stated)
        yield Obligation(name, f"{what} at singular ends = limit of the textbook", show)


def points(
    variables: Mapping[Any, Any], singular: Mapping[Any, Any]
) -> Iterator[tuple[Any, Point]]:
    """Every way to stand at an end of a singular variable, the others inside or at their ends.

    Gives the singular variable with where it is approached from, and where the others are.
    """
    for moving, ends in singular.items():
        rest = {v: allowed for v, allowed in variables.items() if v != moving}
        choices = [
            [(v, place) for place in _places(str(v), allowed, inside=v in singular)]
            for v, allowed in rest.items()
        ]
        for end in ends:
            for choice in product(*choices):
                yield (moving, Integer(end)), dict(choice)


def _places(name: str, allowed: Any, *, inside: bool) -> list[Expr]:
    """The closed ends of a set, and a symbol for its interior, from which signs can be read."""
    if not isinstance(allowed, Interval):
        return [Symbol(name, real=True)]
    closed = [(allowed.start, allowed.left_open), (allowed.end, allowed.right_open)]
    ends = [end for end, open_ in closed if end.is_finite and not open_]
    if allowed.is_subset(S.Reals) and not allowed.start.is_finite:
        return [Symbol(name, real=True)]
    part = Symbol(name, positive=True)
    between = (allowed.start + allowed.end * part) / (1 + part) if allowed.end != oo else (
        allowed.start + part
    )  # fmt: skip
    return [between] if inside else [*ends, between]


def _known(others: Point) -> Facts:
    """That what stands for an interior is positive."""
    symbols = set().union(*(place.free_symbols for place in others.values()))
    return Facts(Algebra(frozenset(s for s in symbols if s.is_positive)))


def agree(ours: Expr, stated: Expr, moving: Any, end: Expr) -> None:
    """Show that a number is the one-sided limit of an expression."""
    theirs = limit(
        stated.subs(moving, end + _inside if end == 0 else end - _inside), _inside, 0, "+"
    )
    same = ours == theirs if oo in (abs(ours), abs(theirs)) else (
        sympy.simplify(ours - theirs) == 0
    )  # fmt: skip
    if not same or ours is nan:
        raise RefutedError(f"{ours} is not {theirs}, the limit of {stated} at {moving} = {end}")


def _of_elements(
    statement: Statement,
    plan: Plan,
    quantities: Mapping[str, Any],
    formula: Formula | None,
    stated: Expr,
) -> Callable[[], str]:
    def show() -> str:
        count = 0
        for (moving, end), others in points(statement.domain, statement.ends):
            here = {n: q.subs({moving: end}).subs(others) for n, q in quantities.items()}
            one = formula or plan.formulas.value
            (leaf,) = explore(partial(formula_on, formula=one, quantities=here), _known(others))
            expression = _piece(stated).subs(others)
            agree(leaf.outcome, expression, moving, end)
            count += 1
        return counted(count, "point")

    return show


def _piece(stated: Expr) -> Expr:
    """Inside of the domain the last piece holds; the others are single points of it."""
    return stated.replace(sympy.Piecewise, lambda *pieces: pieces[-1][0])


def _of_rows(
    statement: Statement,
    plan: Plan,
    quantities: Mapping[str, Any],
    formula: Formula | None,
    stated: Expr,
) -> Callable[[], str]:
    """Two classes, of which the one looked at, or the other, is at the end."""

    def show() -> str:
        count = 0
        for place in _two_classes(statement):
            entries = {
                base[c]: allowed for base, allowed in statement.domain.items() for c in (0, 1)
            }
            singular = {base[c]: ends for base, ends in statement.ends.items() for c in (0, 1)}
            explicit = place.of(statement, stated)
            for (moving, end), others in points(entries, singular):
                at = {moving: end, **others}
                rows = {n: _At(base, at) for n, base in quantities.items()}

                def ours(path: Any, place: Place = place, rows: Any = rows) -> Expr:
                    block = symbolic_block(path, place, statement, plan, rows)
                    row = block.value() if formula is None else block.derivative(formula)
                    return row.at(0 if formula is None else place.k)

                (leaf,) = explore(ours, _known(others))
                agree(leaf.outcome, explicit.subs(others), moving, end)
                count += 1
        return f"C = 2: {counted(count, 'point')}"

    return show


def _two_classes(statement: Statement) -> Iterator[Place]:
    for k in (0, 1):
        for y in [None] if statement.label is None else [0, 1]:
            yield Place(Integer(2), Integer(k), None if y is None else Integer(y))


class _At:
    """A row of symbols with some of them at a point."""

    def __init__(self, base: Any, at: Point) -> None:
        self.base, self.at = base, at

    def __getitem__(self, index: Any) -> Expr:
        return sympy.sympify(self.base[index]).subs(self.at)
