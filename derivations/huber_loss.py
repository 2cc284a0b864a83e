"""Huber's loss: squared where the residual is small, linear where it is large."""

from collections.abc import Iterator

from sympy import Abs, Eq, Interval, S, Symbol, oo

from derivations import conventions, residual_regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.statement import Statement, arms

x = Symbol("x", real=True)
t = Symbol("t", real=True)
delta = Symbol("delta", positive=True)
r = x - t

_slope = ((r, Abs(r) <= delta), (delta, r > delta), (-delta, r < -delta))
_bend = arms((S.One, Abs(r) <= delta), (S.Zero, Abs(r) > delta))

statement = Statement(
    loss="huber_loss",
    title="Huber loss",
    source=("P. J. Huber, Robust estimation of a location parameter, 1964, section 1",),
    arguments={"input": x, "target": t},
    options={"delta": delta},
    textbook=arms((r**2 / 2, Abs(r) <= delta), (delta * (Abs(r) - delta / 2), Abs(r) > delta)),
    gradient={
        "input": (arms(*_slope),),
        "target": (arms(*((-slope, where) for slope, where in _slope)),),
    },
    curvature={"input": (_bend,), "target": (_bend,)},
    domain={x: S.Reals, t: S.Reals, delta: Interval.open(0, oo)},
    kinks=(Eq(Abs(r), delta),),
)


def cases() -> Iterator[Case]:
    deltas = (1.0, 0.5, 2.25, 0.1)
    yield from residual_regions.cases(
        "huber_loss",
        [{"delta": d} for d in deltas],
        {d: {"delta": d} for d in deltas},
        weighted=True,
    )


derivation = Derivation(
    statement=statement,
    denominator=count,
    defaults={"delta": 1.0},
    regions=residual_regions.REGIONS,
    conventions={
        **conventions.ELEMENTS,
        "divided-by-delta": Convention(
            "The smooth L1 loss under Huber's name: divided by delta.",
            statement=lambda case: conventions.scaled(statement, 1 / delta),
        ),
    },
    cases=cases,
)
