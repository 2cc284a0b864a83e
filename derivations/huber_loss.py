"""Huber's loss: squared where the residual is small, linear where it is large."""

from collections.abc import Iterator

from sympy import Abs, Eq, Interval, S, Symbol, oo

from derivations import regions
from derivations.case import Case, array
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.regions import FORMATS, INF, NAN
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
    source=("P. J. Huber, Robust estimation of a location parameter, 1964, eq. 1.6 and after",),
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

REGIONS = regions.selected(
    ["bulk", "saturation", "subnormal", "infinite", "nan", "large", "reductions", "empty"]
) | {"kinks": "Residuals at ±delta and one unit in the last place to either side."}


def cases() -> Iterator[Case]:
    for form in FORMATS:
        rng = regions.seeded("huber_loss", form.name)
        for delta_ in (1.0, 0.5, 2.25, 0.1):
            xs, ts = regions.normals(rng, 12, form, 2.0), regions.normals(rng, 12, form, 2.0)
            yield regions.elementwise("bulk", {"input": xs, "target": ts}, {"delta": delta_})
        for delta_ in (1.0, 0.5, 0.1):
            edge = [s * v for s in (1, -1) for v in regions.neighbours(delta_, form)]
            for target in (0.0, 1.0):
                xs = [form.nearest(v + target) for v in edge]
                ts = [target] * len(xs)
                yield regions.elementwise("kinks", {"input": xs, "target": ts}, {"delta": delta_})
        big = [form.largest, -form.largest, form.down(form.largest), form.nearest(1e4)]
        xs, ts = regions.pairs(big, [0.0, 1.0, form.nearest(9999.0)])
        yield regions.elementwise("saturation", {"input": xs, "target": ts})
        tiny = regions.tiny_numbers(form)
        xs, ts = regions.pairs(tiny, [0.0, form.tiny])
        yield regions.elementwise("subnormal", {"input": xs, "target": ts})
    specials = [INF, -INF, 1.5]
    xs, ts = regions.pairs(specials, specials)
    yield regions.elementwise("infinite", {"input": xs[:-1], "target": ts[:-1]})
    for reduction in ("none", "mean", "sum"):
        yield regions.elementwise(
            "infinite", {"input": [INF, 0.5], "target": [1.0, 1.0]}, reduction=reduction
        )
        for xs, ts in (([NAN, 0.5], [1.0, 1.0]), ([0.5, 0.25], [1.0, NAN]), ([NAN], [NAN])):
            yield regions.elementwise("nan", {"input": xs, "target": ts}, reduction=reduction)
        yield regions.elementwise("empty", {"input": [], "target": []}, reduction=reduction)
        for weighted in (False, True):
            for shape in ((6,), (2, 3), (), (1, 3, 2)):
                yield _weighted(reduction, weighted, shape)
    yield Case(
        "large",
        {"input": regions.eighths((1000, 1000), 1), "target": regions.eighths((1000, 1000), 2)},
        {"delta": 1.0, "reduction": "mean"},
        at=regions.sampled(1_000_000),
    )
    yield Case(
        "large",
        {"input": regions.eighths((1_000_000,), 3), "target": regions.eighths((1_000_000,), 4)},
        {"delta": 0.1, "reduction": "sum"},
        at=regions.sampled(1_000_000),
    )


def _weighted(reduction: str, weighted: bool, shape: tuple[int, ...]) -> Case:
    rng = regions.seeded("huber_loss", reduction, weighted, shape)
    size = 1
    for n in shape:
        size *= n
    form = FORMATS[0]
    inputs = {
        "input": array(regions.normals(rng, size, form), shape),
        "target": array(regions.normals(rng, size, form), shape),
    }
    if weighted:
        inputs["weight"] = array([rng.randrange(0, 9) / 4 for _ in range(size)], shape)
    return Case("reductions", inputs, {"delta": 0.75, "reduction": reduction})


derivation = Derivation(
    statement=statement,
    denominator=count,
    regions=REGIONS,
    cases=cases,
    defaults={"delta": 1.0},
)
