"""Binary cross-entropy of a logit."""

from collections.abc import Iterator

from sympy import Interval, S, Symbol, exp, log, oo

from derivations import binary_regions, conventions
from derivations.case import Case
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.statement import Statement

z = Symbol("z", real=True)
t = Symbol("t", real=True)
c = Symbol("c", positive=True)

p = 1 / (1 + exp(-z))

statement = Statement(
    loss="binary_cross_entropy_with_logits",
    title="Binary cross-entropy of a logit",
    source=("C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.90",),
    arguments={"input": z, "target": t, "pos_weight": c},
    textbook=-c * t * log(p) - (1 - t) * log(1 - p),
    terms=(-c * t * log(p), -(1 - t) * log(1 - p)),
    gradient={
        "input": (-c * t * (1 - p), (1 - t) * p),
        # log(1 - p) = log(p) - z
        "target": ((1 - c) * log(p), -z),
    },
    curvature={"input": ((c * t + 1 - t) * p * (1 - p),), "target": (S.Zero,)},
    domain={z: S.Reals, t: S.Reals, c: Interval.open(0, oo)},
)


def cases() -> Iterator[Case]:
    name = "binary_cross_entropy_with_logits"
    yield from binary_regions.logits(name, [{}])
    yield from binary_regions.pos_weights(name)
    yield from binary_regions.combinations(name, [{}], pos_weighted=True)
    yield from binary_regions.large({})


derivation = Derivation(
    statement=statement,
    denominator=count,
    regions=binary_regions.LOGIT_REGIONS,
    conventions=conventions.ELEMENTS,
    cases=cases,
)
