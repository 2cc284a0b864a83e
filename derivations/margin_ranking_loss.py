"""Margin ranking loss: of two scores, the one that should be larger should be so by a margin."""

from sympy import Eq, FiniteSet, Interval, S, Symbol, oo

from derivations import conventions
from derivations.derivation import Derivation
from derivations.hinge_regions import REGIONS, Hinges
from derivations.reduction import count
from derivations.statement import Statement, arms

x1 = Symbol("x1", real=True)
x2 = Symbol("x2", real=True)
t = Symbol("t", real=True)  # 1 where x1 should be the larger, -1 where x2 should
margin = Symbol("m", nonnegative=True)
h = -t * (x1 - x2) + margin

statement = Statement(
    loss="margin_ranking_loss",
    title="Margin ranking loss",
    source=("T. Joachims, Optimizing search engines using clickthrough data, 2002, section 4",),
    arguments={"input1": x1, "input2": x2, "target": t},
    options={"margin": margin},
    textbook=arms((h, h > 0), (S.Zero, h <= 0)),
    terms=(
        arms((-t * (x1 - x2), h > 0), (S.Zero, h <= 0)),
        arms((margin, h > 0), (S.Zero, h <= 0)),
    ),
    gradient={
        "input1": (arms((-t, h > 0), (S.Zero, h < 0)),),
        "input2": (arms((t, h > 0), (S.Zero, h < 0)),),
    },
    curvature={"input1": (S.Zero,), "input2": (S.Zero,)},
    domain={x1: S.Reals, x2: S.Reals, t: FiniteSet(-1, 1), margin: Interval(0, oo)},
    kinks=(Eq(h, 0),),
)

derivation = Derivation(
    statement=statement,
    denominator=count,
    defaults={"margin": 0.0},
    regions=REGIONS,
    conventions=conventions.empty_mean_zero(count),
    cases=Hinges(
        "margin_ranking_loss", ("input1", "input2"), (1.0, -1.0), (0.0, 1.0, 0.5, 0.1)
    ).cases,
)
