"""Answers of losses over rows of classes: row by row, masked, weighted, reduced."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sympy
from flint import ctx, fmpq
from sympy import Expr

from derivations.case import Answers, Case
from derivations.enclose import ZERO, Number, Singular, compiled, rational
from derivations.entry import NAN, Entry, from_limits, from_terms
from derivations.limits import limit_at
from derivations.reduction import RowDenominator, reduced, repeated, spread
from derivations.statement import Statement, Terms

Row: TypeAlias = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Layout:
    """Where the rows of an array of shape (C,) or (N, C, d1, ..., dk) lie in C order."""

    shape: tuple[int, ...]

    @property
    def classes(self) -> int:
        return self.shape[1 if len(self.shape) > 1 else 0]

    @property
    def outer(self) -> tuple[int, ...]:
        return () if len(self.shape) == 1 else (self.shape[0], *self.shape[2:])

    @property
    def rows(self) -> int:
        return math.prod(self.outer)

    @property
    def stride(self) -> int:
        return math.prod(self.shape[2:])

    def split(self, flat: Sequence[float]) -> list[tuple[float, ...]]:
        C, stride = self.classes, self.stride
        if stride == 1:
            return [tuple(flat[r * C : (r + 1) * C]) for r in range(self.rows)]
        return [
            tuple(flat[n * C * stride + s : (n + 1) * C * stride : stride])
            for n in range(self.shape[0]) for s in range(stride)
        ]  # fmt: skip

    def place(self, position: int) -> tuple[int, int]:
        """The row and the class of a flat position."""
        n, rest = divmod(position, self.classes * self.stride)
        k, s = divmod(rest, self.stride)
        return n * self.stride + s, k


def answer(
    statement: Statement, case: Case, denominator: RowDenominator
) -> dict[str, dict[str, Answers]]:
    """Value, gradient and curvature of a case; derivatives only at ``case.at``."""
    layout = Layout(case.inputs["input"].shape)
    labels = _labels(statement, case)
    weight = case.inputs["weight"].values if "weight" in case.inputs else None
    rows = _rows(statement, case, layout, weight)
    options = tuple(_scalar(case.options[name]) for name in statement.options)
    ignored = _ignored(case, labels)
    kept = None if labels is None else [y for y in labels if y != ignored]
    divisor = denominator(case, layout.rows, kept, weight)
    reduction = case.options.get("reduction", "mean")

    def part(terms: Terms, row: Row, y: int | None, k: int | None = None) -> Entry:
        if y is not None and y == ignored:
            return Entry(ZERO)
        return spread(entry(statement, terms, row, options, y, k), 1.0, divisor)

    targets: Sequence[int | None] = [None] * len(rows) if labels is None else labels
    terms = statement.terms or (statement.textbook,)
    if reduction == "none":
        value = Answers(
            layout.outer, [part(terms, row, y) for row, y in zip(rows, targets, strict=True)]
        )
    else:
        distinct = Counter(zip(rows, targets, strict=True))
        parts = (repeated(part(terms, row, y), n) for (row, y), n in distinct.items())
        value = Answers((), [reduced(parts, divisor)])
    answers: dict[str, dict[str, Answers]] = {"value": {"": value}}
    where = range(case.inputs["input"].size) if case.at is None else case.at
    for name, derivatives in (("gradient", statement.gradient), ("curvature", statement.curvature)):
        answers[name] = {}
        for argument, terms in derivatives.items():
            entries = []
            for position in where:
                r, k = layout.place(position)
                entries.append(part(terms, rows[r], targets[r], k))
            answers[name][argument] = Answers(layout.shape, entries, case.at)
    return answers


def _scalar(option: Any) -> float:
    return float(option)


def _labels(statement: Statement, case: Case) -> Sequence[int] | None:
    if statement.label is None:
        return None
    return [int(y) for y in case.inputs["target"].flat()]


def _ignored(case: Case, labels: Sequence[int] | None) -> int | None:
    if labels is None:
        return None
    ignored = case.options.get("ignore_index", -100)
    assert isinstance(ignored, int)
    return ignored


def _rows(
    statement: Statement, case: Case, layout: Layout, weight: Sequence[float] | None
) -> list[Row]:
    columns = []
    for name in statement.arguments:
        if name == "weight":
            ones = (1.0,) * layout.classes
            columns.append([ones if weight is None else tuple(weight)] * layout.rows)
            continue
        split = layout.split(case.inputs[name].flat())
        if name in statement.shift:
            if not invariant(statement, name):
                raise ValueError(f"{statement.loss}: an offset of {name} does not cancel")
            split = [shifted(row) for row in split]
        columns.append(split)
    return list(zip(*columns, strict=True))


@functools.lru_cache(maxsize=1 << 16)
def shifted(row: tuple[float, ...]) -> tuple[float, ...]:
    """The row with its largest entry moved to zero, where that is exact and defined."""
    top = max((x for x in row if math.isfinite(x)), default=None)
    if top is None or any(math.isnan(x) or x == math.inf for x in row):
        return row
    moved = tuple(x - top for x in row)
    exact = all(
        math.isinf(x) or rational(m) == rational(x) - rational(top)
        for m, x in zip(moved, row, strict=True)
    )
    return moved if exact else row


def entry(
    statement: Statement,
    terms: Terms,
    row: Row,
    options: tuple[float, ...],
    y: int | None,
    k: int | None,
) -> Entry:
    """The sum of `terms` of one row, at class `k` where they contain the free index."""
    finite = all(map(math.isfinite, (x for values in row for x in values)))
    if not finite:
        return _special(statement, terms, row, options, y, k, ctx.prec)
    try:
        inner = _prepared(statement, terms, row, options, y, ctx.prec)
        if k is None and _has_index(statement, terms):
            classes = len(row[0])
            found = from_terms([number for i in range(classes) for number in inner(i)])
        else:
            found = from_terms(inner(k))
        if statement.coincide and _coincide(statement, row) and vanishes(statement, terms):
            return replace(found, value=ZERO)  # what cancelled stays as the scale
        return found
    except Singular:
        return _special(statement, terms, row, options, y, k, ctx.prec)


@functools.lru_cache(maxsize=1 << 14)
def _prepared(
    statement: Statement,
    terms: Terms,
    row: Row,
    options: tuple[float, ...],
    y: int | None,
    precision: int,
) -> Callable[..., tuple[Number, ...]]:
    scalars = (*statement.options.values(), statement.classes)
    values: list[Any] = [[rational(x) for x in values] for values in row]
    values += [rational(x) for x in options] + [fmpq(len(row[0]))]
    if statement.label is not None:
        scalars, values = (*scalars, statement.label), [*values, y]
    parameters = (*statement.arguments.values(), *scalars)
    outer = compiled(terms, parameters, statement.index, statement.classes)
    return functools.cache(outer(*values))


@functools.cache
def invariant(statement: Statement, name: str) -> bool:
    """Whether a common offset of an argument cancels identically, for any number of classes.

    The offset is added wherever the argument stands. In exponentials it becomes a factor, sums let
    the factor through, and quotients cancel it; the expression must be what it was.
    """
    base, offset = statement.arguments[name], sympy.Dummy("offset", real=True)
    derivatives = (*statement.gradient.values(), *statement.curvature.values())
    expressions = [statement.textbook, *statement.terms, *(t for ts in derivatives for t in ts)]

    def at(e: Expr) -> bool:
        return isinstance(e, sympy.Indexed) and e.base == base

    def through(function: Expr, limits: sympy.Tuple) -> Expr:
        factor, rest = function.as_independent(limits[0], as_Add=False)
        return factor * sympy.Sum(rest, limits)

    def normal(e: Expr) -> Expr:
        factors = e.replace(sympy.exp, lambda x: sympy.expand_power_exp(sympy.exp(sympy.expand(x))))
        return factors.replace(sympy.Sum, through)

    return all(normal(e.replace(at, lambda z: z + offset)) == normal(e) for e in expressions)


@functools.cache
def _has_index(statement: Statement, terms: Terms) -> bool:
    return statement.index in sympy.Add(*terms).free_symbols


def _coincide(statement: Statement, row: Row) -> bool:
    assert statement.coincide is not None
    names = list(statement.arguments)
    a, b = (row[names.index(name)] for name in statement.coincide)
    return a == b


@functools.cache
def vanishes(statement: Statement, terms: Terms) -> bool:
    """Whether the terms add up to zero identically where two arguments coincide."""
    assert statement.coincide is not None
    a, b = (statement.arguments[name] for name in statement.coincide)
    return bool(sympy.expand(sympy.Add(*terms).subs(b, a).doit()) == 0)


@functools.lru_cache(maxsize=1 << 14)
def _special(
    statement: Statement,
    terms: Terms,
    row: Row,
    options: tuple[float, ...],
    y: int | None,
    k: int | None,
    precision: int,
) -> Entry:
    classes = len(row[0])
    if k is None and _has_index(statement, terms):
        written = [
            e for i in range(classes) for e in _explicit(statement, terms, classes, y, i)
        ]  # fmt: skip
    else:
        written = list(_explicit(statement, terms, classes, y, k))
    whole = sympy.Add(*written)
    at = []
    ends = []
    for base, values in zip(statement.arguments.values(), row, strict=True):
        for i, x in enumerate(values):
            if not whole.has(base[i]):
                continue
            if math.isnan(x):
                return Entry(NAN)
            at.append((base[i], x))
            ends.append((base[i], statement.ends.get(base, ())))
    at += zip(statement.options.values(), options, strict=True)
    if len(written) > 1:
        separate = from_limits([limit_at(term, tuple(at), tuple(ends)) for term in written])
        if not (isinstance(separate.value, float) and math.isnan(separate.value)):
            return separate
    return from_limits([limit_at(whole, tuple(at), tuple(ends))])


@functools.cache
def _explicit(
    statement: Statement, terms: Terms, classes: int, y: int | None, k: int | None
) -> tuple[Expr, ...]:
    places = {}
    if y is not None:
        places[statement.label] = y
    if k is not None:
        places[statement.index] = k
    return tuple(statement.explicit(term.subs(places), classes) for term in terms)
