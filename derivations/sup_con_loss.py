"""Supervised contrastive loss: each anchor picks those of its class among all others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from flint import fmpq
from sympy import (
    And,
    Eq,
    Expr,
    IndexedBase,
    Interval,
    Ne,
    Piecewise,
    Rational,
    S,
    Sum,
    exp,
    log,
    oo,
)  # fmt: skip

from derivations import batch_regions, conventions
from derivations.case import Case
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.enclose import ONE, Number
from derivations.similarities import D, N, T, a, d, i, j, k, over, similarities, surprise

x = IndexedBase("x", real=True)
y = IndexedBase("y", integer=True)
R, w, n, o = (IndexedBase(name, real=True) for name in "Rwno")
p = a
cosines = similarities(x, x)
s = cosines.s


def positives(term: Expr, of: Expr, index: Expr) -> Expr:
    """The sum over all others of the class."""
    alike = And(Ne(index, of), Eq(y[index], y[of]))
    return Sum(Piecewise((term, alike), (0, True)), (index, 0, N - 1))


def negatives(term: Expr, of: Expr, index: Expr) -> Expr:
    """The sum over all of other classes."""
    return Sum(Piecewise((term, Ne(y[index], y[of])), (0, True)), (index, 0, N - 1))


_beside = exp((s[i, j] - s[i, k]) / T)

statement = Composition(
    loss="sup_con_loss",
    title="Supervised contrastive loss",
    source=("P. Khosla et al., Supervised contrastive learning, 2020, eq. 2 (L_out)",),
    arguments={"embeddings": x, "labels": y},
    axes={"embeddings": (N, D), "labels": (N,)},
    options={"temperature": T},
    row=i,
    component=d,
    rows=N,
    where=(
        *cosines.where,
        Definition(n, (i,), positives(S.One, i, j)),
        Definition(o, (i,), n[i] - 1, once=True),
        # how much all the others have beside k
        Definition(R, (i, k), over(_beside, j, N, i, k)),
        # what the loss of anchor i loses per unit of s[i, k] / T
        Definition(
            w,
            (i, k),
            Piecewise(
                (0, Eq(n[i], 0)),
                (
                    (o[i] / (1 + R[i, k]) - R[i, k] / (1 + R[i, k])) / n[i],
                    Eq(y[i], y[k]),
                ),
                (1 / (1 + R[i, k]), True),
            ),
        ),
    ),
    textbook=Piecewise(
        (0, Eq(n[i], 0)),
        (
            -positives(log(exp(s[i, p] / T) / over(exp(s[i, k] / T), k, N, i)), i, p) / n[i],
            True,
        ),
    ),
    stated=Piecewise(
        (0, Eq(n[i], 0)), (positives(surprise(R[i, p]), i, p) / n[i], True)
    ),
    gradient={"embeddings": over((w[i, a] + w[a, i]) * cosines.first[i, a, d], a, N, i) / T},
    domain={x: S.Reals, T: Interval.open(0, oo)},
)  # fmt: skip

# each positive against the negatives alone
_alone = negatives(exp((s[i, j] - s[i, k]) / T), i, j)
one_positive = replace(
    statement,
    where=(
        *cosines.where,
        Definition(R, (i, k), _alone),
        Definition(
            w,
            (i, k),
            Piecewise(
                (-R[i, k] / (1 + R[i, k]), Eq(y[i], y[k])),
                (positives(exp((s[i, k] - s[i, p]) / T) / (1 + R[i, p]), i, p), True),
            ),
        ),
    ),
    textbook=positives(
        -log(
            exp(s[i, p] / T) / (exp(s[i, p] / T) + negatives(exp(s[i, k] / T), i, k))
        ), i, p,
    ),
    stated=positives(surprise(R[i, p]), i, p),
)  # fmt: skip

BASE = Rational(*(0.07).as_integer_ratio())
tempered = replace(
    statement,
    textbook=statement.textbook * T / BASE,
    stated=statement.stated * T / BASE,
    gradient={"embeddings": statement.gradient["embeddings"] * T / BASE},
)


def _pairs(case: Case) -> list[int]:
    """How many positives each anchor has."""
    labels = [int(label) for label in case.inputs["labels"].flat()]
    counts = Counter(labels)
    return [counts[label] - 1 for label in labels]


def anchors(case: Case, rows: int) -> Number | float:
    """The number of anchors that have a positive; the mean of none is 0."""
    if not conventions.is_mean(case):
        return ONE
    return fmpq(sum(count > 0 for count in _pairs(case)) or 1)


def pairs(case: Case, rows: int) -> Number | float:
    """The number of pairs of an anchor and a positive."""
    return fmpq(sum(_pairs(case)) or 1) if conventions.is_mean(case) else ONE


derivation = Derivation(
    statement=statement,
    denominator=anchors,
    defaults={"temperature": 0.1},
    regions=batch_regions.selected(batch_regions.CLASSES),
    conventions={
        "mean-over-all-anchors": Convention(
            "The mean divides by the number of all anchors, also of those without a positive.",
            denominator=row_count,
            applies=conventions.is_mean,
        ),
        "times-temperature-over-0.07": Convention(
            "The loss is multiplied by temperature / 0.07, and its mean is over all anchors "
            "(the reference code of the paper).",
            statement=lambda case: tempered,
            denominator=row_count,
            applies=lambda case: not case.large,
        ),
        "one-positive-per-denominator": Convention(
            "Each positive is picked against the negatives alone, other positives left out, and "
            "the mean is over all pairs of an anchor and a positive (NT-Xent of "
            "pytorch-metric-learning and optax).",
            statement=lambda case: one_positive,
            denominator=pairs,
            applies=lambda case: case.options.get("reduction", "mean") != "none",
        ),
    },
    cases=batch_regions.classes,
)
