"""Smoothed labels: a little mass for every class."""

import itertools
from collections.abc import Iterator
from typing import Any

from sympy import Interval, Rational, S, Symbol

from derivations import elements, regions
from derivations.case import Answered, Array, Case, Option, array, labels
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.regions import FORMATS, NAN
from derivations.statement import Statement

t = Symbol("t", real=True)
C = Symbol("C", integer=True, positive=True)
eps = Symbol("epsilon", nonnegative=True)


def stating(textbook: S) -> Statement:
    return Statement(
        loss="smooth_labels",
        title="Smoothed labels",
        source=("C. Szegedy et al., Rethinking the Inception Architecture, 2016, section 7",),
        arguments={"target": t},
        options={"num_classes": C, "epsilon": eps},
        textbook=textbook,
        gradient={},
        curvature={},
        domain={t: Interval(0, 1), eps: Interval(0, 1)},
    )


statement = stating((1 - eps) * t + eps / C)
off_value = stating((1 - eps) * t + eps * (1 - t) / (C - 1))
binary = stating((1 - eps) * t + eps * Rational(1, 2))


def answer(statement: Statement, case: Case, denominator: Any) -> Answered:
    """Class indices become one-hot along a new last axis."""
    target = case.inputs["target"]
    classes = int(case.options["num_classes"] or 0)
    if target.index:
        hot = [float(c == y) for y in target.values for c in range(classes)]
        target = Array((*target.shape, classes), tuple(hot))
    options: dict[str, Option] = {**case.options, "reduction": "none"}
    spread = Case(case.region, {"target": target}, options)
    return elements.answer(statement, spread, denominator)


def cases() -> Iterator[Case]:
    for classes, epsilon in itertools.product((1, 2, 3, 10), (0.0, 0.1, 0.125, 1.0)):
        options: dict[str, Option] = {"num_classes": classes, "epsilon": epsilon}
        for shape in ((4,), (2, 2), (), (0,)):
            size = {(4,): 4, (2, 2): 4, (): 1, (0,): 0}[shape]
            ys = labels([n % classes for n in range(size)], shape)
            yield Case("indices" if size else "empty", {"target": ys}, options)
        for form in FORMATS:
            rng = regions.seeded("smooth_labels", form.name, classes, epsilon)
            soft = array(regions.uniforms(rng, 3 * classes, form), (3, classes))
            yield Case("soft", {"target": soft}, options)
    soft = array([[NAN, 0.5], [1.0, 0.0]])
    yield Case("nan", {"target": soft}, {"num_classes": 2, "epsilon": 0.1})


derivation = Derivation(
    statement=statement,
    denominator=count,
    answer=answer,
    regions=regions.selected(["empty", "nan"])
    | {
        "indices": "Class indices, with every number of classes and epsilon.",
        "soft": "One-hot or soft targets in floating point.",
    },
    conventions={
        "off-value-eps-over-C-minus-1": Convention(
            "1 - eps for the label and eps / (C - 1) for each other class (Sockeye).",
            statement=lambda case: off_value,
            applies=lambda case: case.options["num_classes"] != 1,
        ),
        "half-epsilon": Convention(
            "eps / 2 is added whatever the number of classes (Keras' binary cross-entropy).",
            statement=lambda case: binary,
        ),
    },
    cases=cases,
)
