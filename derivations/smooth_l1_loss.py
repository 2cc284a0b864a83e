"""Smooth L1: Huber's loss divided by its threshold, so that the slope ends at one."""

from collections.abc import Iterator

from sympy import Abs, Eq, Interval, S, Symbol, oo

from derivations import conventions, l1_loss, residual_regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.statement import Statement, arms

x = Symbol("x", real=True)
t = Symbol("t", real=True)
beta = Symbol("beta", positive=True)
r = x - t

_slope = ((r / beta, Abs(r) < beta), (S.One, r >= beta), (S.NegativeOne, r <= -beta))
_bend = arms((1 / beta, Abs(r) < beta), (S.Zero, Abs(r) >= beta))

statement = Statement(
    loss="smooth_l1_loss",
    title="Smooth L1 loss",
    source=("R. Girshick, Fast R-CNN, 2015, eq. 3 (there beta = 1)",),
    arguments={"input": x, "target": t},
    options={"beta": beta},
    textbook=arms((r**2 / (2 * beta), Abs(r) < beta), (Abs(r) - beta / 2, Abs(r) >= beta)),
    gradient={
        "input": (arms(*_slope),),
        "target": (arms(*((-slope, where) for slope, where in _slope)),),
    },
    curvature={"input": (_bend,), "target": (_bend,)},
    domain={x: S.Reals, t: S.Reals, beta: Interval.open(0, oo)},
    kinks=(Eq(Abs(r), beta),),
)

# beta = 0: what is left is the absolute error.
at_zero = Statement(
    loss="smooth_l1_loss",
    title="Smooth L1 loss at beta = 0",
    source=statement.source,
    arguments={"input": l1_loss.x, "target": l1_loss.t},
    options={"beta": beta},
    textbook=l1_loss.statement.textbook,
    gradient=l1_loss.statement.gradient,
    curvature=l1_loss.statement.curvature,
    domain=l1_loss.statement.domain,
    kinks=l1_loss.statement.kinks,
)


def choose(case: Case) -> Statement:
    return at_zero if case.options.get("beta") == 0.0 else statement


def cases() -> Iterator[Case]:
    betas = (1.0, 0.5, 0.0, 0.1)
    yield from residual_regions.cases(
        "smooth_l1_loss",
        [{"beta": b} for b in betas],
        {b: {"beta": b} for b in betas},
        weighted=False,
    )


derivation = Derivation(
    statement=statement,
    variants={"beta = 0": at_zero},
    choose=choose,
    denominator=count,
    defaults={"beta": 1.0},
    regions=residual_regions.REGIONS,
    conventions={
        **conventions.ELEMENTS,
        "times-beta": Convention(
            "Huber's loss under the name of smooth L1: multiplied by beta (Paddle's default).",
            statement=lambda case: conventions.scaled(statement, beta),
            applies=lambda case: case.options.get("beta") != 0.0,
        ),
    },
    cases=cases,
)
