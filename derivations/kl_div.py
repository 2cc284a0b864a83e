"""Divergence of a distribution given by log-probabilities from a target."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from sympy import Eq, Interval, S, Symbol, exp, log, oo

from derivations import conventions, regions
from derivations.case import Answered, Answers, Case, Option, array
from derivations.conventions import Convention, all_nan
from derivations.derivation import Derivation
from derivations.entry import NAN, Entry
from derivations.reduction import count
from derivations.regions import FORMATS, INF
from derivations.statement import Statement, arms

x = Symbol("x", real=True)  # log-probability
t = Symbol("t", nonnegative=True)

statement = Statement(
    loss="kl_div",
    title="Kullback-Leibler divergence, one term",
    source=("S. Kullback and R. A. Leibler, On information and sufficiency, 1951, eq. 2.4",),
    arguments={"input": x, "target": t},
    # 0 log 0 = 0: what has no mass loses nothing
    textbook=arms((S.Zero, Eq(t, 0)), (t * (log(t) - x), t > 0)),
    terms=(arms((S.Zero, Eq(t, 0)), (t * log(t), t > 0)), -t * x),
    gradient={"input": (-t,), "target": (log(t), -x, S.One)},
    curvature={"input": (S.Zero,), "target": (1 / t,)},
    domain={x: S.Reals, t: Interval(0, oo)},
    ends={t: (0,)},
)

s = Symbol("s", real=True)  # log of the target

of_logs = replace(
    statement,
    title="Kullback-Leibler divergence, one term, of a target given by its logarithm",
    arguments={"input": x, "target": s},
    textbook=exp(s) * (s - x),
    terms=(exp(s) * s, -exp(s) * x),
    gradient={"input": (-exp(s),), "target": (exp(s) * s, -exp(s) * x, exp(s))},
    curvature={
        "input": (S.Zero,),
        "target": (exp(s) * s, -exp(s) * x, 2 * exp(s)),
    },
    domain={x: S.Reals, s: S.Reals},
    ends={},
)


def choose(case: Case) -> Statement:
    return of_logs if case.options.get("log_target") else statement


REGIONS = regions.selected(
    ["bulk", "tails", "zeros", "subnormal", "infinite", "nan", "reductions", "empty", "large"]
)


def cases() -> Iterator[Case]:
    for form in FORMATS:
        rng = regions.seeded("kl_div", form.name)
        for scale in (1.0, 5.0):
            xs = [-abs(v) for v in regions.normals(rng, 12, form, scale)]
            ts = [v or 0.5 for v in regions.uniforms(rng, 12, form)]
            yield regions.elementwise("bulk", {"input": xs, "target": ts})
            ss = [-abs(v) for v in regions.normals(rng, 12, form, scale)]
            yield regions.elementwise("bulk", {"input": xs, "target": ss}, {"log_target": True})
        # log t close to x: the terms cancel
        ts = [form.nearest(v) for v in (0.9, 0.5, 0.1, 1e-2, 1 - form.eps)]
        xs = [form.nearest(math.log(v)) for v in ts]
        yield regions.elementwise("tails", {"input": xs, "target": ts})
        ss = [form.up(v) for v in xs]
        yield regions.elementwise("tails", {"input": xs, "target": ss}, {"log_target": True})
        far = [-form.nearest(g) for g in (12.0, 37.0, 88.0, 103.0, 400.0, 700.0)]
        yield regions.elementwise("tails", {"input": far, "target": [0.5] * len(far)})
        columns = {"input": [-1.0] * len(far), "target": far}
        yield regions.elementwise("tails", columns, {"log_target": True})
        tiny = [v for v in regions.tiny_numbers(form) if v > 0]
        yield regions.elementwise("subnormal", {"input": [-1.0] * len(tiny), "target": tiny})
        yield regions.elementwise("subnormal", {"input": [-v for v in tiny], "target": tiny})
    yield from _specials()
    yield from _reductions()
    for reduction, shape in (
        ("mean", (1_000_000,)),
        ("batchmean", (1000, 1000)),
        ("sum", (10**6,)),
    ):
        inputs = {"input": regions.eighths(shape, 15), "target": regions.sixteenths(shape, 16)}
        yield Case("large", inputs, {"reduction": reduction}, at=regions.sampled(1_000_000))


def _specials() -> Iterator[Case]:
    xs, ts = regions.pairs([-1.0, 0.0, -INF], [0.0, 1.0, 0.5])
    yield regions.elementwise("zeros", {"input": xs, "target": ts})
    xs, ss = regions.pairs([-1.0, 0.0, -INF], [-INF, 0.0, -0.5])
    yield regions.elementwise("infinite", {"input": xs, "target": ss}, {"log_target": True})
    for reduction in ("none", "mean", "sum", "batchmean"):
        for columns in (
            {"input": [-1.0, -0.5], "target": [0.0, 0.25]},
            {"input": [-INF, -0.5], "target": [0.0, 0.25]},
            {"input": [-INF, -0.5], "target": [0.5, 0.25]},
        ):
            yield regions.elementwise("zeros", columns, reduction=reduction)
        for xs, ts in (([NAN, -0.5], [0.5, 0.5]), ([-0.5, -0.25], [0.25, NAN])):
            columns = {"input": xs, "target": ts}
            yield regions.elementwise("nan", columns, reduction=reduction)
            yield regions.elementwise("nan", columns, {"log_target": True}, reduction=reduction)


def _reductions() -> Iterator[Case]:
    for reduction, logs, shape in itertools.product(
        ("none", "mean", "sum", "batchmean"), (False, True), ((6,), (2, 3), (4, 1, 2), (0, 3), ())
    ):
        if shape == () and reduction == "batchmean":
            continue
        rng = regions.seeded("kl_div", reduction, logs, shape)
        size = math.prod(shape)
        xs = [-abs(v) for v in regions.normals(rng, size, FORMATS[0])]
        ts = [v or 0.5 for v in regions.uniforms(rng, size, FORMATS[0])]
        target = [-v for v in ts] if logs else ts
        inputs = {"input": array(xs, shape), "target": array(target, shape)}
        options: dict[str, Option] = {"reduction": reduction, "log_target": logs}
        yield Case("reductions" if size else "empty", inputs, options)


def _massless(case: Case) -> list[bool]:
    none = -INF if case.options.get("log_target") else 0.0
    return [m == none for m in case.inputs["target"].flat()]


def nan_at_zero_target(case: Case, answered: Answered) -> Answered:
    """The target's derivative where it has no mass, and 0 * inf in the value."""
    massless = _massless(case)
    logs = bool(case.options.get("log_target"))
    lost = [
        zero and (logs or x == -INF)
        for zero, x in zip(massless, case.inputs["input"].flat(), strict=True)
    ]
    value = answered["value"][""]
    if case.options.get("reduction", "mean") == "none":
        value = all_nan(value, lost)
    elif any(lost):
        value = Answers((), [Entry(NAN)])
    target = all_nan(answered["gradient"]["target"], massless)
    return {"value": {"": value}, "gradient": {"target": target}}


derivation = Derivation(
    statement=statement,
    variants={"log_target": of_logs},
    choose=choose,
    denominator=count,
    regions=REGIONS,
    conventions={
        **conventions.empty_mean_zero(count),
        "nan-at-zero-target": Convention(
            "Where the target has no mass its derivative is NaN, and so is the value when "
            "the logarithm of nothing is multiplied by nothing (torch, optax).",
            amend=nan_at_zero_target,
            applies=lambda case: not case.large and any(_massless(case)),
        ),
    },
    cases=cases,
)
