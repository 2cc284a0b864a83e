"""Negative log-likelihood of a label, from log-probabilities."""

from collections.abc import Iterator

from sympy import IndexedBase, Interval, KroneckerDelta, S, Symbol, oo

from derivations import class_regions, conventions, regions
from derivations.case import Case
from derivations.derivation import Derivation
from derivations.reduction import picked_weight
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
k = Symbol("k", integer=True, nonnegative=True)
y = Symbol("y", integer=True, nonnegative=True)
x, w = IndexedBase("x", real=True), IndexedBase("w", real=True)

statement = Statement(
    loss="nll_loss",
    title="Negative log-likelihood of a label",
    source=("R. A. Fisher, On the mathematical foundations of theoretical statistics, 1922",),
    arguments={"input": x, "weight": w},
    textbook=-w[y] * x[y],
    gradient={"input": (-w[y] * KroneckerDelta(k, y),)},
    curvature={"input": (S.Zero,)},
    domain={x: S.Reals, w: Interval(0, oo)},
    index=k,
    classes=C,
    label=y,
)


def cases() -> Iterator[Case]:
    yield from class_regions.logits("nll_loss", {}, soft=False)
    yield from class_regions.combinations("nll_loss", {}, soft=False)
    yield from class_regions.ignored_and_empty({})
    yield from class_regions.large({})


derivation = Derivation(
    statement=statement,
    denominator=picked_weight,
    regions=regions.selected(class_regions.LOGIT_REGIONS),
    conventions=conventions.ROWS,
    cases=cases,
)
