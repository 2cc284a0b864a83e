"""The distance of two vectors in the p-norm, and how it changes with each component.

The slope is written as sign(r) (|r| / d)^(p - 1). Where the distance is zero it may be anything in
[-1, 1], and so it may where a component of a city-block distance is.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Abs, AccumBounds, Eq, Expr, IndexedBase, Ne, Piecewise, Sum, Symbol

from derivations.composition import Definition, Largest
from derivations.statement import arms

N = Symbol("N", integer=True, positive=True)
D = Symbol("D", integer=True, positive=True)
i = Symbol("i", integer=True, nonnegative=True)
k = Symbol("k", integer=True, nonnegative=True)
j = Symbol("j", integer=True, nonnegative=True)
p = Symbol("p", positive=True)


@dataclass(frozen=True)
class Distance:
    """d[i], its slope g[i, k] in the components, and the definitions of both."""

    distance: IndexedBase
    slope: IndexedBase
    where: tuple[Definition, ...]


def distance(
    difference: Expr, suffix: str = "", infinite: bool = False, inside: Expr | None = None
) -> Distance:
    """The p-norm of `difference`, which holds the free indices i and k; or its largest component.

    `inside` is added under the root.
    """
    r, s, d, g, o = (IndexedBase(f"{name}{suffix}", real=True) for name in "rsdgo")
    where = [
        Definition(r, (i, k), difference, once=True),
        Definition(s, (i, k), arms((1, r[i, k] > 0), (-1, r[i, k] < 0))),
    ]
    if infinite:
        others = Piecewise((0, Eq(j, k)), (Abs(r[i, j]), True))
        among = ((s[i, k], Abs(r[i, k]) > o[i, k]), (0, Abs(r[i, k]) < o[i, k]))
        where += [
            Definition(d, (i,), Largest(Abs(r[i, j]), (j, 0, D - 1))),
            Definition(o, (i, k), Largest(others, (j, 0, D - 1))),
            Definition(g, (i, k), arms(*among)),
        ]
        return Distance(d, g, tuple(where))
    powers = Sum(Abs(r[i, j]) ** p, (j, 0, D - 1))
    steepness = (Abs(r[i, k]) / d[i]) ** (p - 1)
    where += [
        Definition(d, (i,), (powers if inside is None else powers + inside) ** (1 / p)),
        Definition(
            g,
            (i, k),
            arms((s[i, k] * steepness, Ne(d[i], 0)), (AccumBounds(-1, 1), Eq(d[i], 0))),
        ),
    ]
    return Distance(d, g, tuple(where))
