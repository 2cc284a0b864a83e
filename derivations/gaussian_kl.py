"""Divergence of a Gaussian from the standard one: the regulariser of variational autoencoders."""

import math
from collections.abc import Iterator

from sympy import S, Symbol, exp

from derivations import conventions, regions
from derivations.case import Case, array
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.regions import FORMATS, INF, NAN
from derivations.statement import Statement

mu = Symbol("mu", real=True)
s = Symbol("s", real=True)  # log of the variance


statement = Statement(
    loss="gaussian_kl",
    title="KL(N(mu, exp(logvar)) || N(0, 1))",
    source=("D. P. Kingma and M. Welling, Auto-encoding variational Bayes, 2014, appendix B",),
    arguments={"mu": mu, "logvar": s},
    textbook=(mu**2 + exp(s) - 1 - s) / 2,
    terms=(mu**2 / 2, (exp(s) - 1) / 2, -s / 2),
    gradient={"mu": (mu,), "logvar": ((exp(s) - 1) / 2,)},
    curvature={"mu": (S.One,), "logvar": (exp(s) / 2,)},
    domain={mu: S.Reals, s: S.Reals},
)

REGIONS = regions.selected(
    ["bulk", "tails", "saturation", "subnormal", "infinite", "nan", "reductions", "empty", "large"]
) | {"cancelling": "Near mu = 0 and logvar = 0, where the value is quadratic in both."}


def cases() -> Iterator[Case]:
    for form in FORMATS:
        rng = regions.seeded("gaussian_kl", form.name)
        for scale in (1.0, 3.0, 0.25):
            ms, ls = regions.normals(rng, 12, form, scale), regions.normals(rng, 12, form, scale)
            yield regions.elementwise("bulk", {"mu": ms, "logvar": ls})
        small = [form.nearest(x) for x in (0.0, 2**-4, -(2**-6), 1e-3, -1e-4, 2**-11)]
        ms, ls = regions.pairs([0.0, form.nearest(1e-3)], small)
        yield regions.elementwise("cancelling", {"mu": ms, "logvar": ls})
        far = [
            s * form.nearest(g) for g in (12.0, 37.0, 88.0, 103.0, 400.0, 700.0) for s in (1, -1)
        ]
        yield regions.elementwise("tails", {"mu": [0.5] * len(far), "logvar": far})
        edges = [math.log(form.largest), math.log(form.smallest_normal), math.log(form.tiny)]
        ls = [x for e in edges for x in (form.nearest(e), form.down(form.nearest(e)))]
        yield regions.elementwise("saturation", {"mu": [0.0] * len(ls), "logvar": ls})
        big = [form.largest, -form.largest, form.nearest(math.sqrt(form.largest))]
        yield regions.elementwise("saturation", {"mu": big, "logvar": [0.0, 1.0, -1.0]})
        tiny = regions.tiny_numbers(form)
        yield regions.elementwise("subnormal", {"mu": tiny, "logvar": [0.0] * len(tiny)})
        yield regions.elementwise("subnormal", {"mu": [0.0] * len(tiny), "logvar": tiny})
    ms, ls = regions.pairs([INF, -INF, 0.5], [INF, -INF, 0.5])
    yield regions.elementwise("infinite", {"mu": ms, "logvar": ls})
    for reduction in ("none", "mean", "sum", "batchmean"):
        for ms, ls in (
            ([NAN, 0.5], [1.0, 1.0]),
            ([0.5, 0.25], [0.0, NAN]),
            ([1.0, 2.0], [INF, 0.0]),
        ):
            region = "infinite" if INF in ls else "nan"
            yield regions.elementwise(region, {"mu": ms, "logvar": ls}, reduction=reduction)
        for shape in ((6,), (2, 3), (4, 1, 2), (0,), (0, 3), ()):
            if shape == () and reduction == "batchmean":
                continue
            rng = regions.seeded("gaussian_kl", reduction, shape)
            size = math.prod(shape)
            inputs = {
                name: array(regions.normals(rng, size, FORMATS[0]), shape)
                for name in ("mu", "logvar")
            }
            yield Case("reductions" if size else "empty", inputs, {"reduction": reduction})
    for reduction, shape in (("mean", (1_000_000,)), ("batchmean", (1000, 1000))):
        inputs = {"mu": regions.eighths(shape, 13), "logvar": regions.eighths(shape, 14)}
        yield Case("large", inputs, {"reduction": reduction}, at=regions.sampled(1_000_000))


derivation = Derivation(
    statement=statement,
    denominator=count,
    regions=REGIONS,
    conventions={
        **conventions.empty_mean_zero(count),
        "without-half": Convention(
            "Twice the divergence: the factor of one half is forgotten.",
            statement=lambda case: conventions.scaled(statement, S(2)),
        ),
    },
    cases=cases,
)
