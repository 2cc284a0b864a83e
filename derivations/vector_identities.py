"""Identities between losses over vectors, of the formulas that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sympy
from sympy import Expr, IndexedBase, S, Symbol

from derivations.agreement import Way, counted, show_equal
from derivations.algebra import Algebra
from derivations.composition_proofs import Setting
from derivations.derivation import load
from derivations.explorer import Path
from derivations.facts import NONNEGATIVE, POSITIVE, Facts
from derivations.pair_proofs import KnownVector, VectorKernels
from derivations.reasoning import Show, all_equal, of
from derivations.row_identities import block
from derivations.similarity_proofs import Place
from derivations.symbolic_rows import Row
from derivations.symbolic_similarities import SymbolicRun
from refloss.formula import similarity
from refloss.losses import (
    contrastive_loss,
    contrastive_loss_from_distance,
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
)
from refloss.vectors import Angle

near, far = Symbol("d_p", nonnegative=True), Symbol("d_n", nonnegative=True)
c, g, y = (Symbol(name, real=True) for name in "cgy")
m, any_m = Symbol("m", nonnegative=True), Symbol("m", real=True)
T = Symbol("T", positive=True)
x, z = IndexedBase("x", real=True), IndexedBase("z", real=True)


def vectorwise() -> Iterator[tuple[Sequence[str], str, Show]]:
    yield (
        ("triplet_margin_loss", "margin_ranking_loss"),
        "triplet = ranking of d(a, n) above d(a, p); value, slopes",
        _triplet_is_ranking,
    )
    yield (
        ("contrastive_loss", "contrastive_loss_from_distance"),
        "contrastive = contrastive of the distance; value, slope",
        _contrastive_of_distance,
    )
    yield (
        ("cosine_embedding_loss", "hinge_embedding_loss"),
        "cosine embedding = hinge embedding of 1 - cos with margin 1 - m; value, slope",
        _cosine_is_hinge,
    )
    yield (
        ("cosine_embedding_loss",),
        "a similar pair costs half the squared distance of the directions",
        _cosine_is_distance,
    )
    yield (
        ("nt_xent_loss", "sup_con_loss"),
        "NT-Xent = SupCon of all views, each labelled by its example; value, gradient",
        _views_are_classes,
    )
    yield (
        ("info_nce_loss", "cross_entropy"),
        "InfoNCE without a queue = cross-entropy of the similarities over T",
        _in_batch_is_cross_entropy,
    )
    yield (
        ("nt_xent_loss", "info_nce_loss", "sup_con_loss"),
        "decay times the factor of a negative = its coefficient, weighted",
        _negative_at_once,
    )


def _known(*claims: tuple[Expr, str]) -> Facts:
    facts = Facts(Algebra(frozenset({T}), frozenset({near, far, m}), nonzero=True))
    for expression, kind in claims:
        facts = facts.given(expression, kind)
    return facts


def _triplet_is_ranking() -> str:
    triplet, ranking = triplet_margin_loss.FORMULAS, margin_ranking_loss.FORMULAS
    for_triplet = {"positive_distance": near, "negative_distance": far, "margin": m}
    for_ranking = {"input1": far, "input2": near, "target": 1, "margin": m}
    slopes = {"positive_slope": -1, "negative_slope": -1}  # of d, by positive and negative
    pairs = [(of(triplet.value, **for_triplet), of(ranking.value, **for_ranking))]
    for argument, other in (("positive", "input2"), ("negative", "input1")):
        ours = of(triplet.gradient[argument], **for_triplet, **slopes)
        pairs.append((ours, of(ranking.gradient[other], **for_ranking)))
    return all_equal(pairs, _known())


def _contrastive_of_distance() -> str:
    pair, alone = contrastive_loss.FORMULAS, contrastive_loss_from_distance.FORMULAS
    at = {"distance": near, "target": y, "margin": m}
    slope = of(alone.gradient["distance"], **at)
    return all_equal(
        [
            (of(pair.value, **at), of(alone.value, **at)),
            (of(pair.gradient["x1"], **at, slope=g), lambda path: slope(path) * g),
            (of(pair.gradient["x2"], **at, slope=g), lambda path: -slope(path) * g),
        ],
        _known((y, NONNEGATIVE), (1 - y, NONNEGATIVE)),
    )


def _cosine_is_hinge() -> str:
    pair, alone = cosine_embedding_loss.FORMULAS, hinge_embedding_loss.FORMULAS
    pairs: list[tuple[Way, Way]] = []
    for target in (1, -1):
        ours = {"cosine": c, "gap": 1 - c, "target": target, "margin": any_m, "turn": g}
        theirs = {"input": 1 - c, "target": target, "margin": 1 - any_m}
        slope = of(alone.gradient["input"], **theirs)
        pairs.append((of(pair.value, **ours), of(alone.value, **theirs)))
        pairs.append((of(pair.gradient["input1"], **ours), _times(slope, -g)))
    return all_equal(pairs, _known())


def _negative_at_once() -> str:
    """What the kernels take for all candidates first, before they mend positives and the top."""
    e, tail, weight, mass = (Symbol(name, positive=True) for name in ("e", "S", "w", "mu"))
    factor = of(similarity.negative, tail=tail, weight=weight, temperature=T)
    alone = of(similarity.coefficient, decay=e, is_top=0, is_positive=0, tail=tail, mass=mass)

    def weighted(path: Path) -> Expr:
        return of(similarity.weighted, coefficient=alone(path), weight=weight, temperature=T)(path)

    positive = frozenset({T, e, tail, weight, mass})
    return show_equal(_times(factor, e), weighted, Facts(Algebra(positive)))


def _times(way: Way, factor: Expr) -> Way:
    return lambda path: way(path) * factor


def _cosine_is_distance() -> str:
    arms = 0
    for d in (1, 2):
        vectors = [[base[k] for k in range(d)] for base in (x, z)]
        squares = [(sympy.Add(*(e**2 for e in vector)), POSITIVE) for vector in vectors]

        def both(path: Path, vectors: Any = vectors) -> tuple[Any, Any]:
            kernels = VectorKernels(path, len(vectors[0]))
            return tuple(KnownVector(kernels, _row(vector)) for vector in vectors)  # type: ignore[return-value]

        def ours(path: Path, both: Any = both) -> Expr:
            angle = Angle(*both(path))
            quantities = {"cosine": angle.cosine.at(0), "gap": angle.gap.at(0)}
            return of(cosine_embedding_loss.value, **quantities, target=1, margin=m)(path)

        def theirs(path: Path, both: Any = both, d: int = d) -> Expr:
            u, v = both(path)
            return sympy.Add(*((u.unit.at(k) - v.unit.at(k)) ** 2 for k in range(d))) / 2

        arms += int(show_equal(ours, theirs, _known(*squares)).split()[0])
    return f"D = 1, 2: {counted(arms, 'arm')}"


def _row(numbers: Sequence[Expr]) -> Row:
    return Row(lambda index: numbers[int(index)])


def _views_are_classes() -> str:
    """The same two sides, with the same labels, so the same numbers."""
    views = np.array([[x[n, 0]] for n in range(4)])
    of_views = Place(Setting({"N": 2, "D": 1}), 1)
    of_classes = Place(Setting({"N": 4, "D": 1}, labels={"labels": (0, 1, 0, 1)}), 1)
    facts = _known(*((view**2, POSITIVE) for view in views.flat))
    ours = _of_similarities("nt_xent_loss", of_views, {"z_i": views[:2], "z_j": views[2:]})
    theirs = _of_similarities("sup_con_loss", of_classes, {"embeddings": views})
    arms = 0
    for anchor in range(4):
        text = show_equal(_value(ours, anchor), _value(theirs, anchor), facts)
        arms += int(text.split()[0])
    text = show_equal(
        lambda path: ours(path).gradients()["z_j"][0, 0].expression,
        lambda path: theirs(path).gradients()["embeddings"][2, 0].expression,
        facts,
    )
    return f"N = 2: {counted(arms + int(text.split()[0]), 'arm')}"


def _value(run: Any, anchor: int) -> Way:
    """What one anchor loses."""
    return lambda path: run(path).each_value()[anchor, 0].expression


def _of_similarities(loss: str, place: Place, embeddings: Any, variant: str = "") -> Any:
    made = load(loss)
    composition: Any = made.variants[variant] if variant else made.statement
    plan = place.plan(composition)
    return lambda path: SymbolicRun(path, plan, embeddings, T, place.choice)


def _in_batch_is_cross_entropy() -> str:
    arms = 0
    for n in (2, 3):
        query = np.array([[x[row, 0]] for row in range(n)])
        keys = np.array([[z[row, 0]] for row in range(n)])
        facts = _known(*((e**2, POSITIVE) for e in (*query.flat, *keys.flat)))
        run = _of_similarities(
            "info_nce_loss",
            Place(Setting({"N": n, "D": 1}), 0),
            {"query": query, "positive_key": keys},
            "negatives in batch",
        )

        def theirs(path: Path, n: int = n) -> Expr:
            logits = [x[0, 0] * z[k, 0] / sympy.sqrt(x[0, 0] ** 2 * z[k, 0] ** 2) / T
                      for k in range(n)]  # fmt: skip
            arrays = {"input": _row(logits)}
            numbers = {"smoothing": S.Zero}
            made = block(path, "cross_entropy", "class indices", n, arrays, numbers, 0, None)
            found: Expr = made.value().at(0)
            return found

        text = show_equal(_value(run, 0), theirs, facts)
        arms += int(text.split()[0])
    return f"N = 2, 3: {counted(arms, 'arm')}"
