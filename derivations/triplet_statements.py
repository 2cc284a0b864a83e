"""The losses of a batch's triplets as papers write them, for every miner and every distance.

Triplets run over the whole batch: an anchor a, a positive p that shares its label, a negative n
that does not. ``t[a, p, n]`` is one for those that the miner takes, and zero for all others.
"""

from __future__ import annotations

import functools

from sympy import (
    Abs,
    AccumBounds,
    And,
    Eq,
    Expr,
    IndexedBase,
    Interval,
    Max,
    Ne,
    Or,
    S,
    Sum,
    Symbol,
    oo,
    sqrt,
)

from derivations.composition import Composition, Definition
from derivations.statement import arms

N = Symbol("N", integer=True, positive=True)
D = Symbol("D", integer=True, positive=True)
a, p, n = (Symbol(name, integer=True) for name in "apn")
q, i, j, k, r = (Symbol(name, integer=True) for name in "qijkr")
x = IndexedBase("x", real=True)
y = IndexedBase("y", integer=True)
m = Symbol("m", nonnegative=True)
d = IndexedBase("d", real=True)  # distances
g = IndexedBase("g", real=True)  # their slopes in the first of the two
c = IndexedBase("c", real=True)  # cosines
f = IndexedBase("f", integer=True)  # how many positives are farther, or tie and come first
e = IndexedBase("e", integer=True)  # how many negatives are nearer, or tie and come first
t = IndexedBase("t", integer=True)
h = IndexedBase("h", real=True)  # whether the hinge is open
w = IndexedBase("w", real=True)  # how often a distance is added, less how often taken away

SOURCES = {
    "all": "A. Hermans, L. Beyer and B. Leibe, In defense of the triplet loss, 2017, eq. 6",
    "hard": "A. Hermans, L. Beyer and B. Leibe, In defense of the triplet loss, 2017, eq. 5",
    "semihard": "F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, 2015, eq. 4",
    "easy": "F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, 2015, eq. 1",
}
MININGS = tuple(SOURCES)
DISTANCES = ("euclidean", "sqeuclidean", "cosine", "cityblock")


def over(summand: Expr, *indices: Symbol, size: Symbol = N) -> Expr:
    """The sum over indices from 0 to the size."""
    return Sum(summand, *((index, 0, size - 1) for index in indices))


def _where(value: Expr, condition: Expr) -> Expr:
    return arms((value, condition), (S.Zero, True))


def _distance(distance: str) -> tuple[Definition, ...]:
    """The distance of i and j, and its derivative in component k of i."""
    gap = x[i, k] - x[j, k]
    indices = (i, j, k)
    if distance == "cityblock":
        kinked = arms((S.One, gap > 0), (S.NegativeOne, gap < 0))
        return Definition(d, (i, j), over(Abs(gap), k, size=D)), Definition(g, indices, kinked)
    if distance == "sqeuclidean":
        return Definition(d, (i, j), over(gap**2, k, size=D)), Definition(g, indices, 2 * gap)
    if distance == "euclidean":
        slope = arms((gap / d[i, j], d[i, j] > 0), (AccumBounds(-1, 1), Eq(d[i, j], 0)))
        return Definition(d, (i, j), sqrt(over(gap**2, k, size=D))), Definition(g, indices, slope)
    assert distance == "cosine", distance
    return _cosine()


def _cosine() -> tuple[Definition, ...]:
    """With a vector of zeros the cosine counts as zero, and its direction may be any."""
    own, other = (over(x[row, r] ** 2, r, size=D) for row in (i, j))
    both = own * other
    cosine = arms(
        (over(x[i, r] * x[j, r], r, size=D) / sqrt(both), both > 0), (S.Zero, Eq(both, 0))
    )
    slope = arms(
        (c[i, j] * x[i, k] / own - x[j, k] / sqrt(both), both > 0),
        (S.Zero, And(own > 0, Eq(other, 0))),
        (AccumBounds(-oo, oo), Eq(own, 0)),
    )
    return (
        Definition(c, (i, j), cosine),
        Definition(d, (i, j), 1 - c[i, j]),
        Definition(g, (i, j, k), slope),
    )


def _mined(mining: str) -> tuple[Definition, ...]:
    triplet = And(Ne(p, a), Eq(y[p], y[a]), Ne(y[n], y[a]))
    if mining == "all":
        return (Definition(t, (a, p, n), _where(S.One, triplet)),)
    if mining == "semihard":
        within = And(triplet, d[a, p] < d[a, n], d[a, n] < d[a, p] + m)
        return (Definition(t, (a, p, n), _where(S.One, within)),)
    if mining == "easy":
        beyond = And(triplet, d[a, n] >= d[a, p] + m)
        return (Definition(t, (a, p, n), _where(S.One, beyond)),)
    assert mining == "hard", mining
    farther = Or(d[a, q] > d[a, p], And(Eq(d[a, q], d[a, p]), q < p))
    nearer = Or(d[a, q] < d[a, n], And(Eq(d[a, q], d[a, n]), q < n))
    return (
        Definition(f, (a, p), over(_where(S.One, And(Ne(q, a), Eq(y[q], y[a]), farther)), q)),
        Definition(e, (a, n), over(_where(S.One, And(Ne(y[q], y[a]), nearer)), q)),
        Definition(
            t, (a, p, n), _where(S.One, And(triplet, Eq(f[a, p], 0), Eq(e[a, n], 0)))
        ),
    )  # fmt: skip


def _weight() -> Expr:
    """Of the distance from a to q."""
    added = over(t[a, q, n] * h[a, q, n], n)
    taken = over(t[a, p, q] * h[a, p, q], p)
    return added - taken


@functools.cache
def batch_loss(mining: str, distance: str) -> Composition:
    """What every anchor loses, before reduction; the number of triplets is the sum of ``t``."""
    excess = d[a, p] - d[a, n] + m
    return Composition(
        loss="batch_triplet_loss",
        title="Triplet loss of a batch",
        source=(SOURCES[mining],),
        arguments={"embeddings": x, "labels": y},
        axes={"embeddings": (N, D), "labels": (N,)},
        options={"margin": m},
        row=a,
        component=k,
        rows=N,
        where=(
            *_distance(distance),
            *_mined(mining),
            Definition(h, (a, p, n), arms((S.One, excess > 0), (S.Zero, excess < 0))),
            Definition(w, (a, q), _weight()),
        ),
        textbook=over(t[a, p, n] * Max(0, excess), n, p),
        gradient={"embeddings": over((w[a, j] + w[j, a]) * g[a, j, k], j)},
        domain={x: S.Reals, y: S.Integers, m: Interval(0, oo)},
    )


@functools.cache
def mined_triplets(mining: str, distance: str) -> Composition:
    """One for the triplets that are mined."""
    return Composition(
        loss="mine_triplets",
        title="Mined triplets of a batch",
        source=(SOURCES[mining],),
        arguments={"embeddings": x, "labels": y},
        axes={"embeddings": (N, D), "labels": (N,)},
        options={"margin": m},
        row=a,
        component=k,
        rows=N,
        where=(*_distance(distance)[:-1], *_mined(mining)[:-1]),
        textbook=_mined(mining)[-1].expression,
        gradient={},
        domain={x: S.Reals, y: S.Integers, m: Interval(0, oo)},
    )
