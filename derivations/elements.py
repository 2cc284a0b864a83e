"""Answers of elementwise losses: element by element, weighted, reduced."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import sympy
from flint import ctx
from sympy import Expr, Piecewise, Symbol

from derivations.case import Answers, Array, Case
from derivations.enclose import ONE, Number, Singular, compiled, rational
from derivations.entry import NAN, Entry, from_limits, from_terms, sorted_pair
from derivations.limits import limit_at
from derivations.reduction import Denominator, reduced, repeated, spread
from derivations.statement import Statement, Terms

Point: TypeAlias = tuple[float, ...]
_CLOSURE = {sympy.StrictLessThan: sympy.Le, sympy.StrictGreaterThan: sympy.Ge}


def answer(
    statement: Statement, case: Case, denominator: Denominator
) -> dict[str, dict[str, Answers]]:
    """Value, gradient and curvature of a case; derivatives only at ``case.at``."""
    shape = case.inputs[next(iter(statement.arguments))].shape
    points = _points(statement, case, shape)
    weights = case.inputs["weight"].broadcast(shape) if "weight" in case.inputs else None
    factors = [1.0] * len(points) if weights is None else list(weights)
    divisor = denominator(case, shape, weights)
    reduction = case.options.get("reduction", "mean")

    terms = statement.terms or (statement.textbook,)
    if reduction == "none":
        entries = [
            spread(entry(statement, terms, p), w, ONE)
            for p, w in zip(points, factors, strict=True)
        ]  # fmt: skip
        value = Answers(shape, entries)
    else:
        count = Counter(zip(points, factors, strict=True))
        parts = (
            (spread(entry(statement, terms, p), w, divisor), n)
            for (p, w), n in count.items()
        )  # fmt: skip
        value = Answers((), [reduced((repeated(part, n) for part, n in parts), divisor)])
    where = range(len(points)) if case.at is None else case.at
    answers: dict[str, dict[str, Answers]] = {"value": {"": value}}
    for name, derivatives in (("gradient", statement.gradient), ("curvature", statement.curvature)):
        answers[name] = {}
        for argument, terms in derivatives.items():
            entries = [
                spread(entry(statement, terms, points[i], derivative=True), factors[i], divisor)
                for i in where
            ]
            answers[name][argument] = Answers(shape, entries, case.at)
    return answers


def _points(statement: Statement, case: Case, shape: tuple[int, ...]) -> list[Point]:
    scalars = [float(case.options[name] or 0.0) for name in statement.options]
    ones = Array((), (1.0,))  # an argument that is not given is a weight of one
    columns = [case.inputs.get(name, ones).broadcast(shape) for name in statement.arguments]
    rest = tuple(scalars)
    return [(*point, *rest) for point in zip(*columns, strict=True)]


def entry(statement: Statement, terms: Terms, point: Point, derivative: bool = False) -> Entry:
    """The sum of `terms` at a point; for derivatives, the interval that the arms span."""
    return _entry(statement, terms, point, derivative, ctx.prec)


@functools.lru_cache(maxsize=1 << 17)
def _entry(
    statement: Statement, terms: Terms, point: Point, derivative: bool, precision: int
) -> Entry:
    symbols = (*statement.arguments.values(), *statement.options.values())
    at = tuple(zip(symbols, point, strict=True))
    free = _symbols_in(terms)
    if any(math.isnan(x) for symbol, x in at if symbol in free):
        return Entry(NAN)
    if any(math.isinf(x) for symbol, x in at if symbol in free):
        return _limit(statement, terms, at)
    numbers = [rational(x) if math.isfinite(x) else None for x in point]
    if derivative and isinstance(terms[0], Piecewise):
        arms = [
            arm for arm, condition in _closed_arms(terms[0])
            if compiled((condition,), symbols)(*numbers)()[0]
        ]  # fmt: skip
        entries = [_finite(statement, (arm,), at, symbols, numbers) for arm in arms]
        return _hull(entries)
    return _finite(statement, terms, at, symbols, numbers)


def _finite(
    statement: Statement,
    terms: Terms,
    at: tuple[tuple[Symbol, float], ...],
    symbols: tuple[Symbol, ...],
    numbers: Sequence[Number | None],
) -> Entry:
    try:
        return from_terms(compiled(terms, symbols)(*numbers)())
    except Singular:
        return _limit(statement, terms, at)


def _limit(statement: Statement, terms: Terms, at: tuple[tuple[Symbol, float], ...]) -> Entry:
    at = tuple((s, x) for s, x in at if not math.isnan(x))
    ends = tuple(statement.ends.items())
    if len(terms) > 1:
        separate = from_limits([limit_at(term, at, ends) for term in terms])
        if not (isinstance(separate.value, float) and math.isnan(separate.value)):
            return separate
    return from_limits([limit_at(sympy.Add(*terms), at, ends)])


@functools.cache
def _symbols_in(terms: Terms) -> frozenset[Symbol]:
    return frozenset().union(*(term.free_symbols for term in terms))


@functools.cache
def _closed_arms(piecewise: Piecewise) -> list[tuple[Expr, sympy.Basic]]:
    return [(arm, closure(condition)) for arm, condition in piecewise.args]


def closure(condition: sympy.Basic) -> sympy.Basic:
    """The closed condition: every arm holds its own boundary."""
    if isinstance(condition, sympy.And | sympy.Or):
        return condition.func(*(closure(c) for c in condition.args))
    return _CLOSURE.get(type(condition), type(condition))(*condition.args)


def _hull(entries: Sequence[Entry]) -> Entry:
    first = entries[0]
    if all(other.value == first.value for other in entries[1:]):
        return first
    low, high = functools.reduce(
        lambda a, b: (sorted_pair(a[0], b[0])[0], sorted_pair(a[1], b[1])[1]),
        [(e.value, e.value) for e in entries],
    )
    return Entry(low, upper=high)
