"""Triplet margin loss: the positive has to be nearer to the anchor than the negative is."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Expr, IndexedBase, Interval, Max, Min, S, Symbol, oo

from derivations import conventions, vector_regions
from derivations.case import Case
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.statement import arms
from derivations.vector_distances import D, N, distance, i, k, p

a, b, n = (IndexedBase(name, real=True) for name in "abn")  # anchor, positive, negative
h = IndexedBase("h", real=True)  # whether the hinge is open
m, eps = Symbol("m", real=True), Symbol("epsilon", real=True)


def stating(swap: bool = False, infinite: bool = False, inside: bool = False) -> Composition:
    """The loss; `inside` adds eps under the root in place of to each component."""
    added = S.Zero if inside else eps
    under = eps if inside else None
    ab = distance(a[i, k] - b[i, k] + added, "_ap", infinite, under)
    an = distance(a[i, k] - n[i, k] + added, "_an", infinite, under)
    bn = distance(b[i, k] - n[i, k] + added, "_pn", infinite, under)
    g_ab, g_an, g_bn = (x.slope[i, k] for x in (ab, an, bn))
    d_an, d_bn = an.distance[i], bn.distance[i]
    where = (*ab.where, *an.where, *(bn.where if swap else ()))
    excess = ab.distance[i] - (Min(d_an, d_bn) if swap else d_an) + m

    def nearest(own: Expr, other: Expr) -> Expr:
        """What follows the distance that counts: from the anchor, or from the positive."""
        return arms((own, d_an < d_bn), (other, d_an > d_bn)) if swap else own

    return Composition(
        loss="triplet_margin_loss",
        title="Triplet margin loss",
        source=(
            "F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, 2015, eq. 2 (with its squares)",
            "V. Balntas et al., Learning local feature descriptors with triplets, 2016, section 2 "
            "(the swap)",
        ),
        arguments={"anchor": a, "positive": b, "negative": n},
        axes=dict.fromkeys(("anchor", "positive", "negative"), (N, D)),
        options={"margin": m, **({} if infinite else {"p": p}), "eps": eps},
        row=i,
        component=k,
        rows=N,
        where=(
            *where,
            Definition(h, (i,), arms((1, excess > 0), (0, excess < 0))),
        ),
        textbook=Max(0, excess),
        gradient={
            "anchor": h[i] * nearest(g_ab - g_an, g_ab),
            "positive": -h[i] * nearest(g_ab, g_ab + g_bn),
            "negative": h[i] * nearest(g_an, g_bn),
        },
        domain={a: S.Reals, b: S.Reals, n: S.Reals, m: S.Reals, p: Interval(1, oo), eps: S.Reals},
    )


statement = stating()
variants = {
    "swap": stating(swap=True),
    "p = inf": stating(infinite=True),
    "p = inf, swap": stating(swap=True, infinite=True),
}
eps_inside = stating(inside=True)


def choose(case: Case) -> Composition:
    names = [
        *(["p = inf"] if case.options.get("p") == "inf" else []),
        *(["swap"] if case.options.get("swap") else []),
    ]
    return variants[", ".join(names)] if names else statement


def cases() -> Iterator[Case]:
    yield from vector_regions.triplets()


derivation = Derivation(
    statement=statement,
    variants=variants,
    choose=choose,
    denominator=row_count,
    defaults={"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": False},
    regions=vector_regions.selected(vector_regions.TRIPLETS),
    conventions={
        **conventions.empty_mean_zero(row_count),
        "eps-inside-the-root": Convention(
            "eps is added to the sum of the powers, under the root, and not to the components "
            "(optax).",
            statement=lambda case: eps_inside,
            applies=lambda case: (
                case.options.get("p") != "inf"
                and not case.options.get("swap")
                and not case.large
                and case.options.get("eps", 1e-6) != 0
            ),
        ),
    },
    cases=cases,
)
