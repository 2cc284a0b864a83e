"""Contrastive loss of a distance: similar pairs pull together, dissimilar ones push apart."""

from dataclasses import replace

from sympy import And, Eq, Interval, Rational, S, Symbol, oo

from derivations import conventions
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.hinge_regions import REGIONS, Hinges
from derivations.reduction import count
from derivations.statement import Statement, arms

d = Symbol("d", nonnegative=True)
y = Symbol("y", nonnegative=True)  # 1 for a similar pair, 0 for a dissimilar one
margin = Symbol("m", nonnegative=True)

_push = arms(((margin - d) ** 2, d < margin), (S.Zero, d >= margin))
_push_slope = arms((-2 * (1 - y) * (margin - d), d < margin), (S.Zero, d >= margin))

statement = Statement(
    loss="contrastive_loss_from_distance",
    title="Contrastive loss of a distance",
    source=(
        "R. Hadsell, S. Chopra and Y. LeCun, Dimensionality reduction by learning an "
        "invariant mapping, 2006, eq. 4 (there halved, and Y = 1 - y)",
    ),
    arguments={"distance": d, "target": y},
    options={"margin": margin},
    textbook=y * d**2 + (1 - y) * _push,
    gradient={"distance": (2 * y * d, _push_slope)},
    curvature={"distance": (arms((S(2), d < margin), (2 * y, d > margin)),)},
    domain={d: Interval(0, oo), y: Interval(0, 1), margin: Interval(0, oo)},
    kinks=(Eq(d, margin),),
)

# Caffe's legacy version squares the distance before it takes it from the margin.
_near, _far = d**2 < margin, d**2 > margin
caffe_legacy = replace(
    statement,
    textbook=(y * d**2 + (1 - y) * arms((margin - d**2, _near), (S.Zero, d**2 >= margin))) / 2,
    gradient={"distance": (arms(((2 * y - 1) * d, _near), (y * d, _far)),)},
    curvature={"distance": (arms((2 * y - 1, _near), (y, _far)),)},
    kinks=(Eq(d**2, margin),),
)

# The pull is a hinge, too: at distance 0 it has a kink.
e = Symbol("d", real=True)
unsquared = replace(
    statement,
    arguments={"distance": e, "target": y},
    textbook=y * arms((e, e > 0), (S.Zero, e <= 0))
    + (1 - y) * arms((margin - e, e < margin), (S.Zero, e >= margin)),
    gradient={
        "distance": (
            arms(
                (y - 1, And(e < 0, e < margin)),
                (2 * y - 1, And(e > 0, e < margin)),
                (y, And(e > 0, e > margin)),
            ),
        )
    },
    curvature={"distance": (S.Zero,)},
    domain={e: S.Reals, y: Interval(0, 1), margin: Interval(0, oo)},
    kinks=(Eq(e, 0), Eq(e, margin)),
)

_ALL = ("value", "gradient", "curvature")

derivation = Derivation(
    statement=statement,
    denominator=count,
    defaults={"margin": 1.0},
    regions=REGIONS,
    conventions={
        **conventions.empty_mean_zero(count),
        "one-half": Convention(
            "Half of the loss (Hadsell's equation 4, and Caffe).",
            statement=lambda case: conventions.scaled(statement, Rational(1, 2)),
            parts=_ALL,
        ),
        "caffe-legacy": Convention(
            "Half of the loss, with max(margin - d^2, 0) for dissimilar pairs (Caffe's "
            "legacy_version).",
            statement=lambda case: caffe_legacy,
            parts=_ALL,
        ),
        "unsquared": Convention(
            "y d + (1 - y) max(0, margin - d), nothing squared (pytorch-metric-learning).",
            statement=lambda case: unsquared,
            parts=_ALL,
        ),
    },
    cases=Hinges(
        "contrastive_loss_from_distance",
        ("distance",),
        (0.0, 1.0),
        (1.0, 0.5, 2.25, 0.1),
        signed=False,
        between=True,
    ).cases,
)
