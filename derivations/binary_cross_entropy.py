"""Binary cross-entropy of a probability; the true limits at 0 and 1."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from sympy import Interval, Max, Min, Piecewise, Rational, S, Symbol, exp, log

from derivations import binary_regions, conventions, regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.formats import Format
from derivations.reduction import count
from derivations.regions import FORMATS, NAN
from derivations.statement import Statement

p = Symbol("p", real=True)
t = Symbol("t", real=True)

statement = Statement(
    loss="binary_cross_entropy",
    title="Binary cross-entropy of a probability",
    source=("C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.90",),
    arguments={"input": p, "target": t},
    textbook=-t * log(p) - (1 - t) * log(1 - p),
    terms=(-t * log(p), -(1 - t) * log(1 - p)),
    gradient={
        "input": (-t / p, (1 - t) / (1 - p)),
        "target": (log((1 - p) / p),),
    },
    curvature={"input": (t / p**2, (1 - t) / (1 - p) ** 2), "target": (S.Zero,)},
    domain={p: Interval(0, 1), t: Interval(0, 1)},
    ends={p: (0, 1)},
)

# torch: logarithms not below -100, and a denominator not below 1e-12.
_hundred = exp(-100)
_clamped_log = (
    Piecewise((S(-100), p < _hundred), (log(p), True), evaluate=False),
    Piecewise((S(-100), 1 - p < _hundred), (log(1 - p), True), evaluate=False),
)
clamped = replace(
    statement,
    textbook=-t * _clamped_log[0] - (1 - t) * _clamped_log[1],
    terms=(),
    gradient={"input": ((p - t) / Max(p * (1 - p), Rational(*(1e-12).as_integer_ratio())),)},
    curvature={},
)


def clipped(form: Format) -> Callable[[Case], Statement]:
    """scikit-learn: probabilities clipped by the machine epsilon of their dtype."""
    eps = Rational(*form.eps.as_integer_ratio())
    inside = Min(Max(p, eps), 1 - eps)
    other = replace(
        statement,
        textbook=-t * log(inside) - (1 - t) * log(1 - inside),
        terms=(),
        gradient={},
        curvature={},
    )
    return lambda case: other


def cases() -> Iterator[Case]:
    name = "binary_cross_entropy"
    for form in FORMATS:
        rng = regions.seeded(name, form.name)
        for targets in ([0.0, 1.0] * 5, regions.uniforms(rng, 10, form)):
            ps = [x or 0.5 for x in regions.uniforms(rng, 10, form)]
            yield regions.elementwise("bulk", {"input": ps, "target": targets})
        ones = [1.0, form.down(1.0), form.down(form.down(1.0)), 1 - 4 * form.eps]
        small = [form.nearest(x) for x in (1e-3, 1e-7, 1e-12, 1e-30, 1e-38) if form.nearest(x)]
        tiny = [x for x in regions.tiny_numbers(form) if x >= 0]
        for t_ in (0.0, 1.0, 0.25):
            for region, ps in (("tails", [*ones, *small]), ("subnormal", tiny)):
                yield regions.elementwise(region, {"input": ps, "target": [t_] * len(ps)})
    ps, ts = regions.pairs([0.0, 1.0, 0.5], [0.0, 0.25, 0.5, 1.0])
    yield regions.elementwise("zeros", {"input": ps, "target": ts})
    for reduction in ("none", "mean", "sum"):
        for ps, ts in (([0.0, 0.5], [1.0, 1.0]), ([0.0, 1.0], [0.0, 1.0])):
            yield regions.elementwise("zeros", {"input": ps, "target": ts}, reduction=reduction)
        for ps, ts in (([NAN, 0.5], [1.0, 1.0]), ([0.5, 0.25], [0.0, NAN])):
            yield regions.elementwise("nan", {"input": ps, "target": ts}, reduction=reduction)
    yield from binary_regions.combinations(name, [{}], probabilities=True)
    yield from binary_regions.large({}, probabilities=True)


derivation = Derivation(
    statement=statement,
    denominator=count,
    regions=binary_regions.PROBABILITY_REGIONS,
    conventions={
        **conventions.ELEMENTS,
        "log-clamp-100": Convention(
            "Logarithms are clamped at -100 and the gradient's denominator p (1 - p) at 1e-12 "
            "(torch).",
            statement=lambda case: clamped,
        ),
        **conventions.clip_eps(clipped),
    },
    cases=cases,
)
