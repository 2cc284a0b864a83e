"""Focal loss of a softmax against a label."""

from collections.abc import Iterator

from sympy import Eq, IndexedBase, Interval, Piecewise, S, Sum, Symbol, exp, log, oo

from derivations import class_regions, conventions, regions
from derivations.case import Case, Option
from derivations.derivation import Derivation
from derivations.reduction import picked_weight
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
j = Symbol("j", integer=True)
k = Symbol("k", integer=True, nonnegative=True)
y = Symbol("y", integer=True, nonnegative=True)
z, w = IndexedBase("z", real=True), IndexedBase("w", real=True)
gamma = Symbol("gamma", nonnegative=True)


def softmax(n: Symbol) -> S:
    return exp(z[n]) / Sum(exp(z[j]), (j, 0, C - 1))


p, u, s = softmax(y), 1 - softmax(y), softmax(k)


def _by_class(at_label: S, elsewhere: S) -> Piecewise:
    """A derivative in the logit of the label, or of another class."""
    return Piecewise((at_label, Eq(k, y)), (elsewhere, True), evaluate=False)


statement = Statement(
    loss="softmax_focal_loss",
    title="Focal loss of a softmax",
    source=("T.-Y. Lin et al., Focal loss for dense object detection, 2017, eq. 4 and 5",),
    arguments={"input": z, "weight": w},
    options={"gamma": gamma},
    textbook=-w[y] * u**gamma * log(p),
    gradient={
        "input": (
            _by_class(
                w[y] * gamma * u**gamma * p * log(p),
                -w[y] * gamma * u ** (gamma - 1) * s * p * log(p),
            ),
            _by_class(-w[y] * u ** (gamma + 1), w[y] * u**gamma * s),
        )
    },
    curvature={
        "input": (
            _by_class(
                w[y] * gamma * u**gamma * p * (1 - (gamma + 1) * p) * log(p),
                w[y] * gamma * (1 - gamma) * u ** (gamma - 2) * s**2 * p**2 * log(p),
            ),
            _by_class(
                2 * w[y] * gamma * u ** (gamma + 1) * p,
                2 * w[y] * gamma * u ** (gamma - 1) * s**2 * p,
            ),
            _by_class(
                w[y] * u ** (gamma + 1) * p,
                -w[y] * gamma * u ** (gamma - 1) * s * (1 - 2 * s) * p * log(p),
            ),
            _by_class(S.Zero, w[y] * u**gamma * s * (1 - s)),
        )
    },
    domain={z: S.Reals, w: Interval(0, oo), gamma: Interval(0, oo)},
    index=k,
    classes=C,
    label=y,
    shift=("input",),
)


def cases() -> Iterator[Case]:
    name = "softmax_focal_loss"
    yield from class_regions.logits(name, {"gamma": 2.0}, soft=False, infinities=3)
    for gamma_ in (0.0, 0.5, 1.0, 1.5, 5.0):
        options: dict[str, Option] = {"gamma": gamma_, "reduction": "none"}
        rng = regions.seeded(name, gamma_)
        for scale in (1.0, 8.0):
            rows = [regions.normals(rng, 3, regions.FLOAT16, scale) for _ in range(6)]
            yield class_regions.by_label("gamma", rows, [0, 1, 2] * 2, options)
        rows = [[gap, 0.0] for gap in (20.0, 40.0, 88.0, 150.0, 700.0)]
        for label in (0, 1):
            yield class_regions.by_label("gamma", rows, [label] * len(rows), options)
        yield class_regions.by_label("one-class", [[3.0], [0.0]], [0, 0], options)
        yield class_regions.by_label("ties", [[1.0] * 4, [0.5] * 4], [0, 3], options)
    yield from class_regions.combinations(name, {"gamma": 1.5}, soft=False)
    yield from class_regions.ignored_and_empty({})
    yield from class_regions.large({})


derivation = Derivation(
    statement=statement,
    denominator=picked_weight,
    defaults={"gamma": 2.0},
    regions=regions.selected(class_regions.LOGIT_REGIONS)
    | {"gamma": "Every gamma, also below one and zero."},
    conventions=conventions.ROWS,
    cases=cases,
)
