"""Cosine embedding loss: similar pairs point the same way, dissimilar ones do not."""

from __future__ import annotations

from sympy import (
    AccumBounds,
    Eq,
    Expr,
    IndexedBase,
    Interval,
    Max,
    Ne,
    Piecewise,
    Rational,
    S,
    Sum,
    Symbol,
    oo,
    sqrt,
)  # fmt: skip

from derivations import conventions, vector_regions
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.statement import arms
from derivations.vector_distances import D, N, i, j, k

x1, x2 = IndexedBase("x1", real=True), IndexedBase("x2", real=True)
t = IndexedBase("t", real=True)  # 1 for a similar pair, -1 for a dissimilar one
A, B, P, c, q, h, u, v, g1, g2 = (
    IndexedBase(name, real=True) for name in ("A", "B", "P", "c", "q", "h", "u", "v", "g1", "g2")
)
m = Symbol("m", real=True)
ANY = AccumBounds(-oo, oo)
# what torch adds to each square: 1e-12, in single precision
TORCH_EPS = Rational(*float.fromhex("0x1.197998p-40").as_integer_ratio())


def _slope(own: Expr, other: Expr, square: Expr, squares: Expr) -> Expr:
    """How the cosine changes with a component of the vector with the square."""
    return (other * square - own * P[i]) / (square * sqrt(squares))


def stating(added: Expr = S.Zero) -> Composition:
    """The loss; `added` joins each squared norm."""
    squares = A[i] * B[i]
    cosine = P[i] / sqrt(squares)
    slopes = {
        g1: _slope(x1[i, k], x2[i, k], A[i], squares),
        g2: _slope(x2[i, k], x1[i, k], B[i], squares),
    }
    apart = None  # who adds something takes 1 - c as it comes
    if added == 0:
        # a vector of zeros has no direction: its cosine is 0, and no subgradient is wrong
        cosine = Piecewise((cosine, Ne(squares, 0)), (0, Eq(squares, 0)))
        apart = Sum((u[i, j] - v[i, j]) ** 2, (j, 0, D - 1)) / 2
        apart = Piecewise((apart, Ne(squares, 0)), (1, Eq(squares, 0)))
        slopes = {
            g: Piecewise((slope, Ne(squares, 0)), (ANY, Eq(own, 0)), (0, Ne(own, 0)))
            for (g, slope), own in zip(slopes.items(), (A[i], B[i]), strict=True)
        }
    where = (
        Definition(A, (i,), Sum(x1[i, j] ** 2, (j, 0, D - 1)) + added),
        Definition(B, (i,), Sum(x2[i, j] ** 2, (j, 0, D - 1)) + added),
        Definition(P, (i,), Sum(x1[i, j] * x2[i, j], (j, 0, D - 1))),
        Definition(c, (i,), cosine),
        Definition(u, (i, k), x1[i, k] / sqrt(A[i])),
        Definition(v, (i, k), x2[i, k] / sqrt(B[i])),
        Definition(q, (i,), 1 - c[i], condition=apart),
        *(Definition(g, (i, k), slope) for g, slope in slopes.items()),
        Definition(h, (i,), arms((1, c[i] - m > 0), (0, c[i] - m < 0))),
    )
    return Composition(
        loss="cosine_embedding_loss",
        title="Cosine embedding loss",
        source=("torch.nn.functional.cosine_embedding_loss, documentation of version 2",),
        arguments={"input1": x1, "input2": x2, "target": t},
        axes={"input1": (N, D), "input2": (N, D), "target": (N,)},
        options={"margin": m},
        row=i,
        component=k,
        rows=N,
        where=where,
        textbook=_by_target(q[i], Max(0, c[i] - m)),
        gradient={
            "input1": _by_target(-g1[i, k], h[i] * g1[i, k]),
            "input2": _by_target(-g2[i, k], h[i] * g2[i, k]),
        },
        domain={x1: S.Reals, x2: S.Reals, m: Interval(-1, 1)},
    )


def _by_target(similar: Expr, dissimilar: Expr) -> Expr:
    return Piecewise((similar, Eq(t[i], 1)), (dissimilar, Eq(t[i], -1)))


statement = stating()
padded = stating(TORCH_EPS)

derivation = Derivation(
    statement=statement,
    denominator=row_count,
    defaults={"margin": 0.0},
    regions=vector_regions.selected(vector_regions.TRIPLETS),
    conventions={
        **conventions.empty_mean_zero(row_count),
        "squares-plus-1e-12": Convention(
            "1e-12, rounded to single precision, is added to each squared norm; vectors of zeros "
            "get a gradient (torch).",
            statement=lambda case: padded,
        ),
    },
    cases=vector_regions.cosines,
)
