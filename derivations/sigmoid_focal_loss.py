"""Focal loss of a logit: cross-entropy that forgets what is already right."""

from collections.abc import Iterator

from sympy import Interval, S, Symbol, exp, log, oo

from derivations import binary_regions, conventions, regions
from derivations.case import Case
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.reduction import count
from derivations.regions import FORMATS
from derivations.statement import Statement

z = Symbol("z", real=True)
t = Symbol("t", real=True)
alpha = Symbol("alpha", real=True)
gamma = Symbol("gamma", nonnegative=True)

p = 1 / (1 + exp(-z))
u = p * (1 - t) + (1 - p) * t  # probability of the wrong answer, 1 - p_t
c = -t * log(p) - (1 - t) * log(1 - p)


def weighing(a: S, slope: S) -> Statement:
    """The loss with a factor `a` whose derivative in the target is `slope`."""
    v = p * (1 - p)  # dp/dz
    s = 1 - 2 * t  # du/dp
    return Statement(
        loss="sigmoid_focal_loss",
        title="Focal loss of a logit",
        source=("T.-Y. Lin et al., Focal loss for dense object detection, 2017, eq. 5",),
        arguments={"input": z, "target": t},
        options={"alpha": alpha, "gamma": gamma},
        textbook=-a * u**gamma * (t * log(p) + (1 - t) * log(1 - p)),
        gradient={
            "input": (a * gamma * u ** (gamma - 1) * s * v * c, a * u**gamma * (p - t)),
            "target": (
                slope * u**gamma * c,
                a * gamma * u ** (gamma - 1) * (1 - 2 * p) * c,
                -a * u**gamma * z,
            ),
        },
        curvature={
            "input": (
                a * gamma * (gamma - 1) * u ** (gamma - 2) * s**2 * v**2 * c,
                a * gamma * u ** (gamma - 1) * s * v * (1 - 2 * p) * c,
                2 * a * gamma * u ** (gamma - 1) * s * v * (p - t),
                a * u**gamma * v,
            ),
            "target": (
                2 * slope * gamma * u ** (gamma - 1) * (1 - 2 * p) * c,
                -2 * slope * u**gamma * z,
                a * gamma * (gamma - 1) * u ** (gamma - 2) * (1 - 2 * p) ** 2 * c,
                -2 * a * gamma * u ** (gamma - 1) * (1 - 2 * p) * z,
            ),
        },
        domain={z: S.Reals, t: Interval(0, 1), alpha: Interval(0, 1), gamma: Interval(0, oo)},
    )


statement = weighing(alpha * t + (1 - alpha) * (1 - t), 2 * alpha - 1)
unweighted = weighing(S.One, S.Zero)
on_positives = weighing(alpha * t + (1 - t), alpha - 1)
everywhere = weighing(alpha, S.Zero)


def choose(case: Case) -> Statement:
    return unweighted if case.options.get("alpha", 0.25) is None else statement


def cases() -> Iterator[Case]:
    name = "sigmoid_focal_loss"
    yield from binary_regions.logits(name, [{}, {"alpha": None, "gamma": 0.5}])
    for gamma_ in (0.0, 0.5, 1.0, 1.5, 5.0):
        for alpha_ in (None, 0.0, 0.25, 0.5, 1.0):
            options = {"alpha": alpha_, "gamma": gamma_}
            rng = regions.seeded(name, gamma_, alpha_)
            form = FORMATS[0]
            for scale in (1.0, 8.0):
                xs = regions.normals(rng, 9, form, scale)
                ts = [0.0, 1.0, 0.0, 1.0, *regions.uniforms(rng, 5, form)]
                yield regions.elementwise("gamma", {"input": xs, "target": ts}, options)
            gaps = [s * g for g in (17.0, 40.0, 88.0, 150.0, 700.0) for s in (1, -1)]
            xs, ts = regions.pairs(gaps, [0.0, 1.0])
            yield regions.elementwise("tails", {"input": xs, "target": ts}, options)
    yield from binary_regions.combinations(
        name, [{}, {"alpha": 0.75, "gamma": 1.5}], weighted=False
    )
    yield from binary_regions.large({})


def _weighted(case: Case) -> bool:
    return case.options.get("alpha", 0.25) is not None


derivation = Derivation(
    statement=statement,
    variants={"alpha = None": unweighted},
    choose=choose,
    denominator=count,
    defaults={"alpha": 0.25, "gamma": 2.0},
    regions=binary_regions.LOGIT_REGIONS
    | {"gamma": "Every gamma, also below one and zero, with every alpha, also none."},
    conventions={
        **conventions.empty_mean_zero(count),
        "alpha-on-positives-only": Convention(
            "alpha multiplies the positives and one the negatives (MONAI with a sequence).",
            statement=lambda case: on_positives,
            applies=_weighted,
        ),
        "alpha-everywhere": Convention(
            "alpha multiplies every element (Keras' categorical focal loss).",
            statement=lambda case: everywhere,
            applies=_weighted,
        ),
    },
    cases=cases,
)
