"""Answers at infinities and at singular ends of the domain: limits of the textbook.

Every infinite argument becomes a function of one ``M`` that grows without bound. With several of
them the limit must not depend on how fast each grows, so a number of rates are tried; where two
disagree there is no limit and the answer is NaN. An argument at an end of its domain, where the
expression is singular, comes from inside at a rate ``1/M``. A mass (a target, a weight) that
is exactly zero stays zero: its term has vanished before any limit is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping

import sympy
from sympy import Expr, Piecewise, Rational, S, Symbol, limit, nan, oo

M = Symbol("M", positive=True)


def _rates(count: int) -> Iterator[tuple[Expr, ...]]:
    yield (M,) * count
    if count > 1:
        yield tuple(n * M for n in range(1, count + 1))
        yield tuple(n * M for n in range(count, 0, -1))
        yield tuple(M**n for n in range(1, count + 1))
        yield tuple(M**n for n in range(count, 0, -1))


def _eventually(condition: sympy.Basic) -> bool:
    """Whether a condition holds for all large M."""
    if condition in (S.true, S.false):
        return bool(condition)
    if isinstance(condition, sympy.And | sympy.Or):
        parts = (_eventually(part) for part in condition.args)
        return all(parts) if isinstance(condition, sympy.And) else any(parts)
    sign = limit(condition.lhs - condition.rhs, M, oo)
    if not (sign.is_extended_positive or sign.is_extended_negative):
        raise NotImplementedError(f"{condition} for large M")
    return bool(condition.func(sympy.sign(sign), 0))


def _arm(piecewise: Piecewise) -> Expr:
    for value, condition in piecewise.args:
        if _eventually(condition):
            return value
    return nan


def _limit(expression: Expr) -> Expr:
    settled = expression.replace(lambda e: isinstance(e, Piecewise), _arm)
    if settled.has(nan, sympy.zoo):
        return nan
    if not settled.has(M):
        return settled
    result = limit(settled, M, oo)
    if result.has(sympy.AccumBounds, sympy.Limit):
        return nan
    return result


@functools.cache
def limit_at(
    expression: Expr,
    point: tuple[tuple[Symbol, float], ...],
    ends: tuple[tuple[Symbol, tuple[int, ...]], ...] = (),
) -> Expr:
    """The limit of an explicit expression at a point with infinite or singular coordinates.

    Returns a constant expression, ``oo``, ``-oo`` or ``nan``. `ends` are the singular values of a
    symbol: 0 is approached from above, 1 from below.
    """
    fixed: dict[Symbol, Expr] = {}
    moving: list[tuple[Symbol, int]] = []
    for symbol, x in point:
        if math.isinf(x):
            moving.append((symbol, 1 if x > 0 else -1))
        else:
            fixed[symbol] = Rational(*x.as_integer_ratio())
    reduced = expression.subs(fixed)
    if reduced.has(nan, sympy.zoo, oo) or not moving:
        singular = dict(ends)
        near = {s: x for s, x in fixed.items() if x in singular.get(s, ())}
        reduced = expression.subs({s: x for s, x in fixed.items() if s not in near})
    else:
        near = {}
    if reduced.has(nan, sympy.zoo):
        return nan
    results = [_limit(reduced.subs(place)) for place in _places(reduced, moving, near)]
    first = results[0]
    if any(not _same(first, other) for other in results[1:]):
        return nan
    return first


def _places(
    expression: Expr,
    moving: list[tuple[Symbol, int]],
    near: Mapping[Symbol, Expr],
) -> Iterator[dict[Symbol, Expr]]:
    outward = [(s, sign) for s, sign in moving if expression.has(s)]
    inward = [(s, x) for s, x in near.items() if expression.has(s)]
    for rate in _rates(len(outward) + len(inward)):
        place = {s: sign * r for (s, sign), r in zip(outward, rate, strict=False)}
        for (s, x), r in zip(inward, rate[len(outward) :], strict=True):
            place[s] = x + 1 / r if x == 0 else x - 1 / r
        yield place


def _same(a: Expr, b: Expr) -> bool:
    if a == b:
        return True
    if not (a.is_finite and b.is_finite):
        return False
    return bool(sympy.simplify(a - b) == 0)
