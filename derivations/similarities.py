"""The cosines of every vector with every other, and how they change with each component.

A vector of zeros has no direction: its cosines are 0, and no subgradient in it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    AccumBounds,
    Eq,
    Expr,
    IndexedBase,
    Ne,
    Or,
    Piecewise,
    Sum,
    Symbol,
    log,
    oo,
    sqrt,
)  # fmt: skip

from derivations.composition import Definition

N = Symbol("N", integer=True, positive=True)
K = Symbol("K", integer=True, positive=True)
D = Symbol("D", integer=True, positive=True)
i, k, d = (Symbol(name, integer=True, nonnegative=True) for name in "ikd")
a, j = Symbol("a", integer=True), Symbol("j", integer=True)
T = Symbol("T", positive=True)
ANY = AccumBounds(-oo, oo)


@dataclass(frozen=True)
class Similarities:
    """s[i, k], and its slopes in the components d of the two vectors."""

    s: IndexedBase
    first: IndexedBase
    second: IndexedBase
    where: tuple[Definition, ...]


def similarities(x: IndexedBase, y: IndexedBase, suffix: str = "") -> Similarities:
    """The cosines of all x[i, d] with all y[k, d]; `second` is no slope if x and y are one."""
    A, B, P, s, g, f = (IndexedBase(f"{name}{suffix}", real=True) for name in "ABPsgf")
    B = A if x == y else B
    squares = A[i] * B[k]
    where = [Definition(A, (i,), Sum(x[i, j] ** 2, (j, 0, D - 1)))]
    if x != y:
        where.append(Definition(B, (k,), Sum(y[k, j] ** 2, (j, 0, D - 1))))
    where += [
        Definition(P, (i, k), Sum(x[i, j] * y[k, j], (j, 0, D - 1))),
        Definition(s, (i, k), Piecewise((P[i, k] / sqrt(squares), Ne(squares, 0)), (0, True))),
        Definition(g, (i, k, d), _slope(x[i, d], y[k, d], A[i], squares, P[i, k])),
    ]
    if x != y:
        where.append(
            Definition(f, (i, k, d), _slope(y[k, d], x[i, d], B[k], squares, P[i, k]))
        )  # fmt: skip
    return Similarities(s, g, f, tuple(where))


def _slope(own: Expr, other: Expr, square: Expr, squares: Expr, product: Expr) -> Expr:
    slope = (other * square - own * product) / (square * sqrt(squares))
    return Piecewise((slope, Ne(squares, 0)), (ANY, Eq(square, 0)), (0, True))


def over(term: Expr, index: Symbol, count: Expr, *without: Expr) -> Expr:
    """The sum of `term` over an index, some of its values left out."""
    left_out = [Eq(index, value) for value in without]
    if not left_out:
        return Sum(term, (index, 0, count - 1))
    return Sum(Piecewise((0, Or(*left_out)), (term, True)), (index, 0, count - 1))


def surprise(rest: Expr) -> Expr:
    """-log(e^s / (e^s + the others)), the others given in multiples of e^s."""
    return log(1 + rest)
