"""Contrastive loss: similar pairs pull together, dissimilar ones push apart up to a margin."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from sympy import Expr, IndexedBase, Interval, Max, Rational, S, Symbol, oo

from derivations import conventions, vector_regions
from derivations.case import Case
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.statement import arms
from derivations.vector_distances import D, N, distance, i, k, p

x1, x2 = IndexedBase("x1", real=True), IndexedBase("x2", real=True)
y = IndexedBase("y", real=True)  # 1 for a similar pair, 0 for a dissimilar one
u = IndexedBase("u", real=True)  # 1 - y
h = IndexedBase("h", real=True)  # whether the hinge is open
m = Symbol("m", real=True)
HALF = Rational(1, 2)


def stating(infinite: bool = False) -> Composition:
    """The loss in the p-norm, or in the one of the largest component."""
    apart = distance(x1[i, k] - x2[i, k], "", infinite)
    d, g = apart.distance[i], apart.slope[i, k]
    return _with(
        infinite,
        apart.where,
        y[i] * d**2 + u[i] * Max(0, m - d) ** 2,
        (2 * y[i] * d - 2 * u[i] * Max(0, m - d)) * g,
    )


def _with(
    infinite: bool, where: tuple[Definition, ...], textbook: Expr, slope: Expr
) -> Composition:
    return Composition(
        loss="contrastive_loss",
        title="Contrastive loss of pairs of vectors",
        source=(
            "R. Hadsell, S. Chopra and Y. LeCun, Dimensionality reduction by learning an "
            "invariant mapping, 2006, eq. 4 (there halved, and Y = 1 - y)",
        ),
        arguments={"x1": x1, "x2": x2, "target": y},
        axes={"x1": (N, D), "x2": (N, D), "target": (N,)},
        options={"margin": m, **({} if infinite else {"p": p})},
        row=i,
        component=k,
        rows=N,
        where=(*where, Definition(u, (i,), 1 - y[i], once=True)),
        textbook=textbook,
        gradient={"x1": slope, "x2": -slope},
        domain={
            x1: S.Reals, x2: S.Reals, y: Interval(0, 1), m: Interval(0, oo), p: Interval(1, oo),
        },
    )  # fmt: skip


def _halved(infinite: bool) -> Composition:
    whole = stating(infinite)
    return replace(
        whole,
        textbook=whole.textbook * HALF,
        gradient={name: slope * HALF for name, slope in whole.gradient.items()},
    )


def _hinged(square: bool, infinite: bool) -> Composition:
    """One power of the distance that is pulled and pushed: a hinge with a kink."""
    apart = distance(x1[i, k] - x2[i, k], "", infinite)
    d, g = apart.distance[i], apart.slope[i, k]
    f, slope, factor = (d**2, 2 * d * g, HALF) if square else (d, g, S.One)
    opened = Definition(h, (i,), arms((1, m - f > 0), (0, m - f < 0)))
    return _with(
        infinite,
        (*apart.where, opened),
        factor * (y[i] * f + u[i] * Max(0, m - f)),
        factor * (y[i] - u[i] * h[i]) * slope,
    )


@functools.cache
def _conventional(name: str, infinite: bool) -> Composition:
    if name == "one-half":
        return _halved(infinite)
    return _hinged(name == "caffe-legacy", infinite)


def _infinite(case: Case) -> bool:
    return case.options.get("p") == "inf"


def _named(name: str) -> Callable[[Case], Composition]:
    return lambda case: _conventional(name, _infinite(case))


statement = stating()
largest_component = stating(infinite=True)

derivation = Derivation(
    statement=statement,
    variants={"p = inf": largest_component},
    choose=lambda case: largest_component if _infinite(case) else statement,
    denominator=row_count,
    defaults={"margin": 1.0, "p": 2.0},
    regions=vector_regions.selected(vector_regions.TRIPLETS),
    conventions={
        **conventions.empty_mean_zero(row_count),
        "one-half": Convention(
            "Half of the loss (Hadsell's equation 4, and Caffe).", statement=_named("one-half")
        ),
        "caffe-legacy": Convention(
            "Half of the loss, with max(margin - d^2, 0) for dissimilar pairs (Caffe's "
            "legacy_version).",
            statement=_named("caffe-legacy"),
            applies=lambda case: not case.large,
        ),
        "unsquared": Convention(
            "y d + (1 - y) max(0, margin - d), nothing squared (pytorch-metric-learning).",
            statement=_named("unsquared"),
        ),
    },
    cases=vector_regions.contrasts,
)
