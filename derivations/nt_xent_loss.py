"""NT-Xent: each view picks its other view among all views of the batch."""

from __future__ import annotations

from flint import fmpq
from sympy import Eq, Expr, IndexedBase, Interval, Mod, Piecewise, S, exp, log, oo

from derivations import batch_regions, conventions
from derivations.case import Case
from derivations.composition import Composition, Definition
from derivations.composition_answers import row_count
from derivations.conventions import Convention
from derivations.derivation import Derivation
from derivations.enclose import Number
from derivations.similarities import D, N, T, a, d, i, k, over, similarities, surprise

z_i, z_j = IndexedBase("z_i", real=True), IndexedBase("z_j", real=True)
e, r, R, w, g = (IndexedBase(name, real=True) for name in ("e", "r", "R", "w", "G"))
views = 2 * N
cosines = similarities(e, e)
s = cosines.s


def partner(n: Expr) -> Expr:
    """The other view of the same."""
    return Mod(n + N, views)


statement = Composition(
    loss="nt_xent_loss",
    title="Normalised temperature-scaled cross-entropy of two views",
    source=(
        "T. Chen, S. Kornblith, M. Norouzi and G. Hinton, A simple framework for contrastive "
        "learning of visual representations, 2020, eq. 1 and algorithm 1",
    ),
    arguments={"z_i": z_i, "z_j": z_j},
    axes={"z_i": (N, D), "z_j": (N, D)},
    options={"temperature": T},
    row=i,
    component=d,
    rows=views,
    where=(
        Definition(e, (k, d), Piecewise((z_i[k, d], k < N), (z_j[k - N, d], True))),
        *cosines.where,
        # beside the positive: how much each other view has, and all of them
        Definition(r, (i, k), exp((s[i, k] - s[i, partner(i)]) / T)),
        Definition(R, (i,), over(r[i, a], a, views, i, partner(i))),
        # what the loss of anchor i loses per unit of s[i, k] / T
        Definition(
            w,
            (i, k),
            Piecewise(
                (0, Eq(k, i)), (-R[i] / (1 + R[i]), Eq(k, partner(i))), (r[i, k] / (1 + R[i]), True)
            ),
        ),
        Definition(
            g, (k, d), over((w[k, a] + w[a, k]) * cosines.first[k, a, d], a, views, k) / T
        ),
    ),
    textbook=-log(exp(s[i, partner(i)] / T) / over(exp(s[i, k] / T), k, views, i)),
    stated=surprise(R[i]),
    gradient={"z_i": g[i, d], "z_j": g[i + N, d]},
    domain={z_i: S.Reals, z_j: S.Reals, T: Interval.open(0, oo)},
)  # fmt: skip


def per_pair(case: Case, rows: int) -> Number | float:
    """Half as many as there are anchors: both directions of a pair are added."""
    return fmpq(rows, 2) if case.options.get("reduction", "mean") == "mean" else fmpq(1)


derivation = Derivation(
    statement=statement,
    denominator=row_count,
    defaults={"temperature": 0.5},
    regions=batch_regions.selected(batch_regions.VIEWS),
    conventions={
        **conventions.empty_mean_zero(row_count),
        "summed-directions": Convention(
            "The two directions are averaged over the pairs and added, which is twice the mean "
            "over all views (google-research/simclr).",
            denominator=per_pair,
            applies=conventions.is_mean,
        ),
    },
    cases=batch_regions.views,
)
