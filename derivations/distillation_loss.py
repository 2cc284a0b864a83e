"""Distillation: what a student's tempered softmax loses against its teacher's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from flint import fmpq
from sympy import IndexedBase, Interval, S, Sum, Symbol, exp, log, oo

from derivations import conventions, regions
from derivations.case import Case, Option, array
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.enclose import Number
from derivations.reduction import picked_weight
from derivations.regions import FORMATS, INF, NAN
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
i, j = Symbol("i", integer=True), Symbol("j", integer=True)
k = Symbol("k", integer=True, nonnegative=True)
z, v = IndexedBase("z", real=True), IndexedBase("v", real=True)
T = Symbol("T", positive=True)


def student(n: Symbol) -> S:
    return exp(z[n] / T) / Sum(exp(z[j] / T), (j, 0, C - 1))


def teacher(n: Symbol) -> S:
    return exp(v[n] / T) / Sum(exp(v[j] / T), (j, 0, C - 1))


_divergence = Sum(teacher(i) * (log(teacher(i)) - log(student(i))), (i, 0, C - 1))

statement = Statement(
    loss="distillation_loss",
    title="T^2 KL(softmax(teacher / T) || softmax(input / T))",
    source=("G. Hinton, O. Vinyals and J. Dean, Distilling the knowledge, 2015, section 2",),
    arguments={"input": z, "teacher": v},
    options={"temperature": T},
    textbook=T**2 * _divergence,
    terms=(T**2 * teacher(k) * log(teacher(k)), -(T**2) * teacher(k) * log(student(k))),
    gradient={
        "input": (T * student(k), -T * teacher(k)),
        "teacher": (
            T * teacher(k) * log(teacher(k)),
            -T * teacher(k) * log(student(k)),
            -T * teacher(k) * _divergence,
        ),
    },
    curvature={
        "input": (student(k) * (1 - student(k)),),
        "teacher": (
            teacher(k) * (1 - teacher(k)),
            teacher(k) * (1 - 2 * teacher(k)) * (log(teacher(k)) - log(student(k))),
            -teacher(k) * (1 - 2 * teacher(k)) * _divergence,
        ),
    },
    domain={z: S.Reals, v: S.Reals, T: Interval.open(0, oo)},
    index=k,
    classes=C,
    shift=("input", "teacher"),
    coincide=("input", "teacher"),
)


def per_element(
    case: Case, rows: int, labels: Sequence[int] | None, weight: Sequence[float] | None
) -> Number | float:
    """The denominator of an elementwise mean."""
    return fmpq(case.inputs["input"].size)


def _case(
    region: str, rows: list[list[float]], others: list[list[float]], **options: Option
) -> Case:
    inputs = {"input": array(rows), "teacher": array(others)}
    return Case(region, inputs, {"reduction": "none", **options})


def cases() -> Iterator[Case]:
    for form in FORMATS:
        rng = regions.seeded("distillation_loss", form.name)
        for classes, temperature in itertools.product((2, 3, 5), (1.0, 2.0, 0.5, 0.1)):
            rows, others = (
                [regions.normals(rng, classes, form, scale) for _ in range(4)]
                for scale in (1.0, 2.0)
            )
            yield _case("bulk", rows, others, temperature=temperature)
        near = [[1.0, 0.5, -0.25], [2.0, -1.0, 0.0]]
        moved = [[form.up(row[0]), *row[1:]] for row in near]
        yield _case("close", near, moved)
        yield _case("close", near, moved, temperature=4.0)
        yield _case("close", near, [list(row) for row in near])
        for temperature in (1.0, 4.0):
            gaps = [12.0, 20.0, 37.0, 88.0, 150.0, 700.0]
            rows = [[gap, 0.0] for gap in gaps]
            yield _case("tails", rows, [[1.0, 0.0]] * len(gaps), temperature=temperature)
            yield _case("tails", [[1.0, 0.0]] * len(gaps), rows, temperature=temperature)
            yield _case("tails", rows, [row[::-1] for row in rows], temperature=temperature)
        if form.largest > 1e6:
            base = form.nearest(1e4)
            step = float(form.spacing(base))
            yield _case("offset", [[base, base + step]], [[-base, -base + 2 * step]])
    yield from _specials()
    yield from _reductions()
    for reduction in ("batchmean", "sum"):
        inputs = {
            "input": regions.eighths((1, 50_257), 17),
            "teacher": regions.eighths((1, 50_257), 18),
        }
        options: dict[str, Option] = {"temperature": 2.0, "reduction": reduction}
        yield Case("large", inputs, options, at=regions.sampled(50_257))


def _specials() -> Iterator[Case]:
    for row in ([-INF, 0.5], [INF, 0.5]):
        yield _case("infinite", [row], [[0.5, 1.0]])
    for row in ([-INF, 0.5, 1.0], [INF, 0.5, 1.0]):
        yield _case("infinite", [[0.5, 1.0, -0.25]], [row])
    yield _case("one-class", [[1.0], [3.0]], [[2.0], [0.0]])
    for reduction in ("none", "batchmean", "sum"):
        rows, others = [[0.5, NAN], [0.5, 1.0]], [[1.0, 0.0], [0.25, 0.0]]
        yield _case("nan", rows, others, reduction=reduction)
        yield _case("nan", others, rows, reduction=reduction)


def _reductions() -> Iterator[Case]:
    for reduction, temperature, shape in itertools.product(
        ("none", "mean", "sum", "batchmean"), (1.0, 3.0),
        ((3,), (4, 3), (2, 3, 2), (2, 3, 1, 2), (0, 3)),
    ):  # fmt: skip
        if shape == (3,) and reduction == "batchmean":
            continue
        rng = regions.seeded("distillation_loss", reduction, temperature, shape)
        size = math.prod(shape)
        inputs = {
            name: array(regions.normals(rng, size, FORMATS[0], 2.0), shape)
            for name in ("input", "teacher")
        }
        options: dict[str, Option] = {"temperature": temperature, "reduction": reduction}
        yield Case("reductions" if size else "empty", inputs, options)


derivation = Derivation(
    statement=statement,
    denominator=picked_weight,
    defaults={"temperature": 1.0, "reduction": "batchmean"},
    regions=regions.selected(
        ["bulk", "tails", "offset", "infinite", "nan", "one-class", "reductions", "empty", "large"]
    )
    | {"close": "Student and teacher equal, or one unit in the last place apart."},
    conventions={
        "without-temperature-squared": Convention(
            "The divergence alone, not multiplied by the square of the temperature.",
            statement=lambda case: conventions.scaled(statement, T**-2),
            applies=lambda case: not case.large,
        ),
        "mean-over-elements": Convention(
            "The mean divides by the number of classes as well (torch's kl_div with "
            'reduction="mean").',
            denominator=per_element,
            applies=conventions.is_mean,
        ),
    },
    cases=cases,
)
