"""Absolute error."""

from collections.abc import Iterator
from dataclasses import replace

from sympy import Abs, Eq, S, Symbol

from derivations import conventions, residual_regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import weight_sum
from derivations.statement import Statement, arms

x = Symbol("x", real=True)
t = Symbol("t", real=True)
r = x - t

statement = Statement(
    loss="l1_loss",
    title="Absolute error",
    source=("P. S. Laplace, Mémoire sur la probabilité des causes par les évènements, 1774",),
    arguments={"input": x, "target": t},
    textbook=Abs(r),
    gradient={
        "input": (arms((S.One, r > 0), (S.NegativeOne, r < 0)),),
        "target": (arms((S.NegativeOne, r > 0), (S.One, r < 0)),),
    },
    curvature={"input": (S.Zero,), "target": (S.Zero,)},
    domain={x: S.Reals, t: S.Reals},
    kinks=(Eq(r, 0),),
)

_unit = {"input": (S.One,), "target": (S.One,)}


def cases() -> Iterator[Case]:
    yield from residual_regions.cases("l1_loss", [{}], {0.0: {}}, weighted=True)


derivation = Derivation(
    statement=statement,
    denominator=weight_sum,
    regions=residual_regions.REGIONS,
    conventions={
        **conventions.MEAN_OVER_COUNT,
        **conventions.empty_mean_zero(weight_sum),
        "unit-hessian": Convention(
            "1 for the second derivative, which is 0, so that boosting has something to divide "
            "by (scikit-learn).",
            statement=lambda case: replace(statement, curvature=_unit),
            parts=("curvature",),
        ),
    },
    cases=cases,
)
