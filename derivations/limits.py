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
from flint import arb, ctx
from sympy import Expr, Piecewise, Rational, S, Symbol, exp, limit, log, nan, oo

from derivations.enclose import constant

M = Symbol("M", positive=True)


def _rates(count: int) -> Iterator[tuple[int, ...]]:
    yield (1,) * count
    if count > 1:
        yield tuple(range(1, count + 1))
        yield tuple(range(count, 0, -1))


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
    result = _by_parts(settled)
    return nan if result.has(sympy.AccumBounds, sympy.Limit) else result


def _by_parts(expression: Expr) -> Expr:
    """The limit from the limits of the parts; Gruntz's algorithm where those do not decide it."""
    if not expression.has(M):
        return expression
    if expression.is_Add or expression.is_Mul or isinstance(expression, exp | log | sympy.Abs):
        result = expression.func(*(_by_parts(part) for part in expression.args))
        if result in (oo, -oo) or result.is_finite:
            return result
    elif expression.is_Pow and expression.exp.is_number:
        base = _by_parts(expression.base)
        if base.is_positive or base.is_negative or base is oo:
            return base**expression.exp
    return limit(expression, M, oo)


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
    # exponentials become powers of M, and their limits those of rational functions
    growth = log(M) if reduced.has(exp) else M
    results = (_limit(reduced.subs(p)) for p in _places(reduced, growth, moving, near))
    first = next(results)
    return first if all(_same(first, other) for other in results) else nan


def _places(
    expression: Expr,
    growth: Expr,
    moving: list[tuple[Symbol, int]],
    near: Mapping[Symbol, Expr],
) -> Iterator[dict[Symbol, Expr]]:
    outward = [(s, sign) for s, sign in moving if expression.has(s)]
    inward = [(s, x) for s, x in near.items() if expression.has(s)]
    count = len(outward) + len(inward)
    for rate in _rates(count):
        place = {s: sign * n * growth for (s, sign), n in zip(outward, rate, strict=False)}
        rest = rate[len(outward) :]
        # slower and faster than whatever else moves
        for fast in (False, True) if inward and count > 1 else (False,):
            near_ = {}
            for (s, x), n in zip(inward, rest, strict=True):
                gap = exp(-2 * n * growth) if fast else 1 / (n * growth)
                near_[s] = x + gap if x == 0 else x - gap
            yield {**place, **near_}


def _same(a: Expr, b: Expr) -> bool:
    """Whether two limits are one number: shown by algebra, refuted by balls, or refused."""
    if a == b or a is nan or b is nan or a.is_infinite or b.is_infinite:
        return bool(a == b)
    if sympy.simplify(sympy.logcombine(sympy.factor_terms(a - b), force=True)) == 0:
        return True
    with ctx.workprec(512):
        difference = constant(a - b)
    if difference.contains(0) if isinstance(difference, arb) else difference == 0:
        raise NotImplementedError(f"neither equal nor different: {a} and {b}")
    return False
