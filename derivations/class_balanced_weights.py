"""Weights of classes by their effective number of samples."""

import math
from collections.abc import Iterator
from typing import Any

from flint import fmpq
from sympy import Eq, IndexedBase, Interval, Piecewise, S, Sum, Symbol

from derivations.case import Answered, Answers, Case, array, labels
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.enclose import compiled, rational
from derivations.entry import Entry, from_terms
from derivations.reduction import count
from derivations.statement import Statement

C = Symbol("C", integer=True, positive=True)
i = Symbol("i", integer=True)
k = Symbol("k", integer=True, nonnegative=True)
n = IndexedBase("n", integer=True, nonnegative=True)
beta = Symbol("beta", nonnegative=True)


def inverse(c: Symbol) -> S:
    """One over the effective number; a class without samples weighs nothing."""
    return Piecewise((S.Zero, Eq(n[c], 0)), ((1 - beta) / (1 - beta ** n[c]), True))


def inverse_count(c: Symbol) -> S:
    return Piecewise((S.Zero, Eq(n[c], 0)), (1 / n[c], True))


def stating(inverse_of: Any, scale: S) -> Statement:
    return Statement(
        loss="class_balanced_weights",
        title="Class weights by the effective number of samples",
        source=("Y. Cui et al., Class-balanced loss based on effective number, 2019, eq. 2 and 7",),
        arguments={"counts": n},
        options={"beta": beta},
        textbook=scale * inverse_of(k) / Sum(inverse_of(i), (i, 0, C - 1)),
        gradient={},
        curvature={},
        domain={n: S.Naturals0, beta: Interval(0, 1)},
        index=k,
        classes=C,
    )


statement = stating(inverse, C)
# beta = 1: the limit, one over the count.
by_count = stating(inverse_count, C)
normalised_to_one = {False: stating(inverse, S.One), True: stating(inverse_count, S.One)}


def choose(case: Case) -> Statement:
    return by_count if case.options["beta"] == 1.0 else statement


def answer(statement: Statement, case: Case, denominator: Any) -> Answered:
    counts = [rational(float(c)) for c in case.inputs["counts"].values]
    b = case.options["beta"]
    assert isinstance(b, float)
    at = compiled((statement.textbook,), (n, beta, C), k, C)(counts, rational(b), fmpq(len(counts)))
    entries: list[Entry] = [from_terms(at(c)) for c in range(len(counts))]
    return {"value": {"": Answers((len(counts),), entries)}, "gradient": {}, "curvature": {}}


COUNTS = (
    [10, 100, 1000], [1, 1, 1, 1], [5000, 2, 37, 400], [7], [1, 2], [123456, 1, 99], [0, 5, 20],
    [0, 0, 3], [3, 3, 0, 3], [1_000_000, 10_000_000],
)  # fmt: skip


def cases() -> Iterator[Case]:
    for b in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999, 1.0):
        for counts in COUNTS:
            if 0 < b < 1 and -max(counts) * math.log2(b) > 20_000:
                continue  # within 2^-20000 of a rational, too close to certify
            region = "unseen" if 0 in counts else "counts"
            yield Case(region, {"counts": labels(counts)}, {"beta": b})
        yield Case("floating", {"counts": array([10.0, 100.0, 1000.0])}, {"beta": b})


derivation = Derivation(
    statement=statement,
    variants={"beta = 1": by_count},
    choose=choose,
    denominator=count,
    answer=answer,
    regions={
        "counts": "Integer counts, balanced and far from it.",
        "unseen": "Classes without samples: they weigh nothing, the others add up to C.",
        "floating": "Counts in floating point.",
    },
    conventions={
        "normalised-to-one": Convention(
            "The weights add up to one instead of the number of classes.",
            statement=lambda case: normalised_to_one[case.options["beta"] == 1.0],
            parts=("value",),
        )
    },
    cases=cases,
)
