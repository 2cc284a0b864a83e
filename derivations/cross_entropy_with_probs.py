"""Cross-entropy of given probabilities: no renormalising, no clipping."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from sympy import IndexedBase, Interval, KroneckerDelta, Max, Min, Rational, Sum, Symbol, log, oo

from derivations import class_regions, conventions, regions
from derivations.case import Array, Case, Option, array, labels
from derivations.derivation import Derivation
from derivations.formats import Format
from derivations.reduction import picked_weight
from derivations.regions import FORMATS, NAN
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
i = Symbol("i", integer=True)
k = Symbol("k", integer=True, nonnegative=True)
y = Symbol("y", integer=True, nonnegative=True)
p, q, w = (IndexedBase(name, real=True) for name in "pqw")

statement = Statement(
    loss="cross_entropy_with_probs",
    title="Cross-entropy of probabilities",
    source=("C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.108",),
    arguments={"input": p, "target": q, "weight": w},
    textbook=-Sum(w[i] * q[i] * log(p[i]), (i, 0, C - 1)),
    gradient={"input": (-w[k] * q[k] / p[k],), "target": (-w[k] * log(p[k]),)},
    curvature={"input": (w[k] * q[k] / p[k] ** 2,)},
    domain={p: Interval(0, 1), q: Interval(0, oo), w: Interval(0, oo)},
    ends={p: (0,)},
    index=k,
    classes=C,
)

_picked = KroneckerDelta(k, y)
by_index = replace(
    statement,
    title="Cross-entropy of probabilities against class indices",
    arguments={"input": p, "weight": w},
    textbook=-w[y] * log(p[y]),
    gradient={"input": (-w[y] * _picked / p[y],)},
    curvature={"input": (w[y] * _picked / p[y] ** 2,)},
    label=y,
)


def choose(case: Case) -> Statement:
    return by_index if case.inputs["target"].index else statement


def clipped(form: Format) -> Callable[[Case], Statement]:
    """scikit-learn: probabilities clipped by the machine epsilon of their dtype."""
    eps = Rational(*form.eps.as_integer_ratio())

    def inside(n: Symbol) -> Min:
        return Min(Max(p[n], eps), 1 - eps)

    soft = -Sum(w[i] * q[i] * log(inside(i)), (i, 0, C - 1))
    picked = -w[y] * log(inside(y))
    of_masses = replace(statement, textbook=soft, gradient={}, curvature={})
    of_index = replace(by_index, textbook=picked, gradient={}, curvature={})
    return lambda case: of_index if case.inputs["target"].index else of_masses


def _probabilities(key: object, rows: int, classes: int, form: Format) -> list[list[float]]:
    found = class_regions.masses((key, "probabilities"), rows, classes, form)
    return [[x or form.eps for x in row] for row in found]


def _rows(region: str, rows: list[list[float]], target: Array, **options: Option) -> Case:
    return Case(region, {"input": array(rows), "target": target}, {"reduction": "none", **options})


def cases() -> Iterator[Case]:
    for form in FORMATS:
        for classes in (2, 3, 5):
            rows = _probabilities(classes, 6, classes, form)
            yield _rows("bulk", rows, labels([r % classes for r in range(6)]))
            yield _rows("bulk", rows, array(class_regions.masses("soft", 6, classes, form)))
        near = form.down(1.0)
        small = [v for v in map(form.nearest, (1e-3, 1e-7, 1e-12, 1e-30, 1e-38)) if v]
        rows = [[near, 1 - near], [form.down(near), form.eps]] + [[1.0, v] for v in small]
        for y_ in (0, 1):
            yield _rows("tails", rows, labels([y_] * len(rows)))
        rows = [[1.0, v] for v in regions.tiny_numbers(form) if v > 0]
        yield _rows("subnormal", rows, labels([1] * len(rows)))
    yield from _zeros_and_nans()
    yield from _combinations()
    yield from class_regions.ignored_and_empty({}, probabilities=True)
    yield from class_regions.large({}, recipe=regions.sixteenths)
    yield _rows("one-class", [[1.0], [0.25]], labels([0, 0]))


def _zeros_and_nans() -> Iterator[Case]:
    for reduction in ("none", "mean", "sum"):
        rows = [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]
        for ys in ([0, 1], [1, 0], [2, 2]):
            yield _rows("zeros", rows, labels(ys), reduction=reduction)
        for soft in ([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], [[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]]):
            yield _rows("zeros", rows, array(soft), reduction=reduction)
        rows = [[0.5, NAN, 0.5], [0.25, 0.5, 0.25]]
        for ys in ([0, 1], [1, 0]):
            yield _rows("nan", rows, labels(ys), reduction=reduction)
        yield _rows("nan", rows[1:], array([[0.5, NAN, 0.5]]), reduction=reduction)


def _combinations() -> Iterator[Case]:
    for case in class_regions.combinations("cross_entropy_with_probs", {}):
        given = case.inputs["input"]
        rng = regions.seeded("with_probs", given.shape, repr(case.options), *case.inputs)
        form = FORMATS[0]
        values = regions.uniforms(rng, math.prod(given.shape), form, 2**-8, 1.0)
        yield replace(case, inputs={**case.inputs, "input": array(values, given.shape)})


derivation = Derivation(
    statement=statement,
    variants={"class indices": by_index},
    choose=choose,
    denominator=picked_weight,
    regions=regions.selected(
        ["bulk", "tails", "subnormal", "zeros", "nan", "reductions", "ignored", "empty",
         "one-class", "large"]
    ),
    conventions={
        **conventions.ROWS,
        **conventions.clip_eps(clipped),
    },
    cases=cases,
)  # fmt: skip
