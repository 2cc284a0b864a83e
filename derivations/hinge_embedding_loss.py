"""Hinge embedding loss: a number should be small for one kind of pair, large for the other."""

from sympy import And, Eq, FiniteSet, Interval, S, Symbol, oo

from derivations import conventions
from derivations.derivation import Derivation
from derivations.hinge_regions import REGIONS, Hinges
from derivations.reduction import count
from derivations.statement import Statement, arms

x = Symbol("x", real=True)
t = Symbol("t", real=True)  # 1 for a similar pair, -1 for a dissimilar one
margin = Symbol("m", nonnegative=True)

similar, dissimilar = Eq(t, 1), Eq(t, -1)

statement = Statement(
    loss="hinge_embedding_loss",
    title="Hinge embedding loss",
    source=(
        "H. Mobahi, R. Collobert and J. Weston, Deep learning from temporal coherence in video, "
        "2009",
    ),
    arguments={"input": x, "target": t},
    options={"margin": margin},
    textbook=arms(
        (x, similar),
        (margin - x, And(dissimilar, x < margin)),
        (S.Zero, And(dissimilar, x >= margin)),
    ),
    gradient={
        "input": (
            arms(
                (S.One, similar),
                (S.NegativeOne, And(dissimilar, x < margin)),
                (S.Zero, And(dissimilar, x > margin)),
            ),
        )
    },
    curvature={"input": (S.Zero,)},
    domain={x: S.Reals, t: FiniteSet(-1, 1), margin: Interval(0, oo)},
    kinks=(And(dissimilar, Eq(x, margin)),),
)

derivation = Derivation(
    statement=statement,
    denominator=count,
    defaults={"margin": 1.0},
    regions=REGIONS,
    conventions=conventions.empty_mean_zero(count),
    cases=Hinges("hinge_embedding_loss", ("input",), (1.0, -1.0), (1.0, 0.5, 2.25, 0.1)).cases,
)
