"""Cross-entropy of a softmax: what a row of logits loses against target masses."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from sympy import IndexedBase, Interval, KroneckerDelta, S, Sum, Symbol, exp, log, oo

from derivations import class_regions, conventions, regions
from derivations.case import Case, Option
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import picked_weight
from derivations.regions import INF
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
i, j = Symbol("i", integer=True), Symbol("j", integer=True)
k = Symbol("k", integer=True, nonnegative=True)
y = Symbol("y", integer=True, nonnegative=True)
z, q, w = (IndexedBase(name, real=True) for name in "zqw")
eps = Symbol("epsilon", nonnegative=True)


def softmax(n: Symbol) -> S:
    return exp(z[n]) / Sum(exp(z[j]), (j, 0, C - 1))


def mass(n: Symbol) -> S:
    """What class n weighs: its smoothed target times its weight."""
    return w[n] * ((1 - eps) * q[n] + eps / C)


_total = Sum(mass(i), (i, 0, C - 1))

# Class probabilities: q is given. The weight stands inside the sum, also of the smoothed part.
statement = Statement(
    loss="cross_entropy",
    title="Cross-entropy of a softmax",
    source=(
        "C. M. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.108 and 4.109",
        "C. Szegedy et al., Rethinking the Inception Architecture, 2016, section 7 (smoothing)",
    ),
    arguments={"input": z, "target": q, "weight": w},
    options={"label_smoothing": eps},
    textbook=-Sum(mass(i) * log(softmax(i)), (i, 0, C - 1)),
    gradient={
        "input": (softmax(k) * (_total - mass(k)), -mass(k) * (1 - softmax(k))),
        "target": (-w[k] * (1 - eps) * log(softmax(k)),),
    },
    curvature={"input": (_total * softmax(k) * (1 - softmax(k)),)},
    domain={z: S.Reals, q: Interval(0, oo), w: Interval(0, oo), eps: Interval(0, 1)},
    index=k,
    classes=C,
    shift=("input",),
)


def _at_label(expression: S) -> S:
    return expression.replace(
        lambda e: e.is_Indexed and e.base == q, lambda e: KroneckerDelta(e.indices[0], y)
    )


# Class indices: q is one at the label y.
by_index = Statement(
    loss="cross_entropy",
    title="Cross-entropy of a softmax against class indices",
    source=statement.source,
    arguments={"input": z, "weight": w},
    options=statement.options,
    textbook=_at_label(statement.textbook),
    gradient={"input": tuple(_at_label(term) for term in statement.gradient["input"])},
    curvature={"input": tuple(_at_label(term) for term in statement.curvature["input"])},
    domain=statement.domain,
    index=k,
    classes=C,
    label=y,
    shift=("input",),
)


def _with_mass(mass_of: Callable[[Symbol], S]) -> Statement:
    """The statement by class indices with other masses than the textbook's."""
    sum_of_masses = Sum(mass_of(i), (i, 0, C - 1))
    p = softmax(k)
    return replace(
        by_index,
        textbook=-Sum(mass_of(i) * log(softmax(i)), (i, 0, C - 1)),
        gradient={"input": (p * (sum_of_masses - mass_of(k)), -mass_of(k) * (1 - p))},
        curvature={"input": (sum_of_masses * p * (1 - p),)},
    )


def _label(n: Symbol) -> S:
    return KroneckerDelta(n, y)


off_value = _with_mass(lambda n: w[n] * ((1 - eps) * _label(n) + eps / (C - 1) * (1 - _label(n))))
weight_outside = _with_mass(lambda n: w[y] * ((1 - eps) * _label(n) + eps / C))


def _smoothed(case: Case) -> bool:
    return bool(case.options.get("label_smoothing")) and case.inputs["target"].index


def choose(case: Case) -> Statement:
    return by_index if case.inputs["target"].index else statement


def cases() -> Iterator[Case]:
    yield from class_regions.logits("cross_entropy", {})
    for smoothing in (0.1, 0.25, 1.0):
        options: dict[str, Option] = {"label_smoothing": smoothing, "reduction": "none"}
        rows = [[20.0, 0.0, -1.0], [0.5, 1.5, -0.25], [-300.0, 300.0, 0.0], [-INF, 0.5, 1.0]]
        for y_ in (0, 1):
            yield class_regions.by_label("tails", rows[:3], [y_] * 3, options)
            yield class_regions.by_label("infinite", rows[3:], [y_], options)
    yield from class_regions.combinations("cross_entropy", {}, (0.0, 0.125, 0.1))
    yield from class_regions.ignored_and_empty({})
    yield from class_regions.large({})


derivation = Derivation(
    statement=statement,
    variants={"class indices": by_index},
    choose=choose,
    denominator=picked_weight,
    defaults={"label_smoothing": 0.0},
    regions=regions.selected(class_regions.LOGIT_REGIONS),
    conventions={
        **conventions.ROWS,
        "dense-zero-times-inf": conventions.DENSE,
        "off-value-eps-over-C-minus-1": Convention(
            "Smoothing gives 1 - eps to the label and eps / (C - 1) to each other class (Sockeye).",
            statement=lambda case: off_value,
            applies=lambda case: _smoothed(case) and case.inputs["input"].shape != (1,),
        ),
        "weight-outside-smoothing": Convention(
            "The weight of the label multiplies the smoothed loss as a whole, instead of each "
            "class's weight its own term.",
            statement=lambda case: weight_outside,
            applies=lambda case: _smoothed(case) and "weight" in case.inputs,
        ),
    },
    cases=cases,
)
