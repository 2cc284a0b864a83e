"""Squared error, without a factor of one half."""

from collections.abc import Iterator

from sympy import Rational, S, Symbol

from derivations import conventions, residual_regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import weight_sum
from derivations.statement import Statement

x = Symbol("x", real=True)
t = Symbol("t", real=True)
r = x - t

statement = Statement(
    loss="mse_loss",
    title="Squared error",
    source=("C. F. Gauss, Theoria motus corporum coelestium, 1809, article 179",),
    arguments={"input": x, "target": t},
    textbook=r**2,
    gradient={"input": (2 * r,), "target": (-2 * r,)},
    curvature={"input": (S(2),), "target": (S(2),)},
    domain={x: S.Reals, t: S.Reals},
)


def cases() -> Iterator[Case]:
    yield from residual_regions.cases("mse_loss", [{}], {}, weighted=True)


derivation = Derivation(
    statement=statement,
    denominator=weight_sum,
    regions={n: s for n, s in residual_regions.REGIONS.items() if n != "kinks"},
    conventions={
        **conventions.MEAN_OVER_COUNT,
        **conventions.empty_mean_zero(weight_sum),
        "half-squared": Convention(
            "Half the squared error (optax l2_loss, scikit-learn HalfSquaredError).",
            statement=lambda case: conventions.scaled(statement, Rational(1, 2)),
        ),
    },
    cases=cases,
)
