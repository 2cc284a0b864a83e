"""InfoNCE: each query picks its key among a queue of negatives, or among the keys of the batch."""

from __future__ import annotations

from collections.abc import Mapping

from sympy import Eq, Expr, IndexedBase, Interval, Piecewise, S, exp, log, oo

from derivations import batch_regions, conventions
from derivations.case import Case
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.derivation import Derivation
from derivations.similarities import D, K, N, T, a, d, i, k, over, similarities, surprise

x, y, n = (IndexedBase(name, real=True) for name in "xyn")  # query, positive key, negative keys
r, R = IndexedBase("r", real=True), IndexedBase("R", real=True)
w = IndexedBase("w", real=True)  # what the loss of query i loses per unit of a similarity / T


def _composition(
    where: tuple[Definition, ...], textbook: Expr, gradient: Mapping[str, Expr], queue: bool
) -> Composition:
    negative: Mapping[str, IndexedBase] = {"negative_keys": n} if queue else {}
    return Composition(
        loss="info_nce_loss",
        title="InfoNCE with a queue of negatives" if queue else "InfoNCE with negatives in batch",
        source=(
            "A. van den Oord, Y. Li and O. Vinyals, Contrastive predictive coding, 2018, eq. 4",
            "K. He, H. Fan, Y. Wu, S. Xie and R. Girshick, Momentum contrast, 2020, eq. 1",
        ),
        arguments={"query": x, "positive_key": y, **negative},
        axes={"query": (N, D), "positive_key": (N, D), **dict.fromkeys(negative, (K, D))},
        options={"temperature": T},
        row=i,
        component=d,
        rows=N,
        where=where,
        textbook=textbook,
        stated=surprise(R[i]),
        gradient=gradient,
        domain={x: S.Reals, y: S.Reals, n: S.Reals, T: Interval.open(0, oo)},
    )


def _with_queue() -> Composition:
    own, far = similarities(x, y, "_p"), similarities(x, n, "_n")
    positive, negative = own.s[i, i], far.s[i, k]
    share = Definition(w, (i, k), r[i, k] / (1 + R[i]))
    pull = -R[i] / (1 + R[i])
    return _composition(
        (
            *own.where,
            *far.where,
            Definition(r, (i, k), exp((negative - positive) / T)),
            Definition(R, (i,), over(r[i, a], a, K)),
            share,
        ),
        -log(exp(positive / T) / (exp(positive / T) + over(exp(negative / T), k, K))),
        {
            "query": (pull * own.first[i, i, d] + over(w[i, a] * far.first[i, a, d], a, K)) / T,
            "positive_key": pull * own.second[i, i, d] / T,
            "negative_keys": over(w[a, i] * far.second[a, i, d], a, N) / T,
        },
        queue=True,
    )


def _in_batch() -> Composition:
    all_keys = similarities(x, y)
    s = all_keys.s
    pull = -R[i] / (1 + R[i])
    return _composition(
        (
            *all_keys.where,
            Definition(r, (i, k), exp((s[i, k] - s[i, i]) / T)),
            Definition(R, (i,), over(r[i, a], a, N, i)),
            Definition(w, (i, k), Piecewise((pull, Eq(k, i)), (r[i, k] / (1 + R[i]), True))),
        ),
        -log(exp(s[i, i] / T) / over(exp(s[i, k] / T), k, N)),
        {
            "query": over(w[i, a] * all_keys.first[i, a, d], a, N) / T,
            "positive_key": over(w[a, i] * all_keys.second[a, i, d], a, N) / T,
        },
        queue=False,
    )


statement = _with_queue()
in_batch = _in_batch()


def choose(case: Case) -> Composition:
    return statement if "negative_keys" in case.inputs else in_batch


derivation = Derivation(
    statement=statement,
    variants={"negatives in batch": in_batch},
    choose=choose,
    denominator=row_count,
    defaults={"temperature": 0.07},
    regions=batch_regions.selected(batch_regions.VIEWS),
    conventions=conventions.empty_mean_zero(row_count),
    cases=batch_regions.queries,
)
