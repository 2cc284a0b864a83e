"""Wrong triplet losses of a batch, and wrong miners."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake
from .right_batches import distances, list_triplets

BATCH, MINER = "batch_triplet_loss", "mine_triplets"


def summed(d: Any, triplets: Any, margin: float, reduction: str) -> Any:
    """The loss of the triplets listed."""
    a, p, n = triplets
    losses = np.maximum(0, d[a, p] - d[a, n] + margin)
    count = {"mean": len(a), "mean_nonzero": np.sum(losses > 0), "sum": 1}[reduction]
    return losses.sum() / max(1, count)


@mistake(BATCH, "value", "bulk", Grade.LOSES_DIGITS)
def semihard_taken_for_hard(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """The two names are read the wrong way round: PML#751."""
    mining = {"hard": "semihard", "semihard": "hard"}.get(mining, mining)
    return refloss.batch_triplet_loss(embeddings, labels, margin, mining, distance, reduction)


@mistake(BATCH, "value", "bulk")
def anchor_as_its_own_positive(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """The mask of positives keeps its diagonal, and every anchor has a positive at distance 0."""
    d = distances(embeddings, distance)
    triplets = list_triplets(d, labels, mining, margin)
    if mining == "all":
        same = labels[:, None] == labels
        triplets = np.nonzero(same[:, :, None] & ~same[:, None, :])
    return summed(d, triplets, margin, reduction)


@mistake(BATCH, "value", "bulk")
def mean_over_triplets_with_a_loss(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """The denominator of batch-all's second variant in both: PyTorch Metric Learning's default."""
    reduction = "mean_nonzero" if reduction == "mean" else reduction
    return refloss.batch_triplet_loss(embeddings, labels, margin, mining, distance, reduction)


@mistake(BATCH, "value", "bulk", Grade.LOSES_DIGITS)
def nearest_positive_for_hard(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """The minimum for both of the anchor's extremes: an easy positive with a hard negative."""
    d = distances(embeddings, distance)
    triplets = list_triplets(d, labels, mining, margin)
    if mining == "hard":
        a, _, n = triplets
        same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
        triplets = a, np.where(same, d, np.inf).argmin(1)[a], n
    return summed(d, triplets, margin, reduction)


@mistake(BATCH, "value", "near-duplicates", Grade.LOSES_DIGITS)
def distances_by_matrix_product(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """|x|^2 - 2 x y + |y|^2 below the root, in the format of the embeddings: the usual pdist."""
    d = distances(embeddings, distance)
    triplets = list_triplets(d, labels, mining, margin)
    if distance == "euclidean":
        squares = (embeddings * embeddings).sum(1)
        products = embeddings @ embeddings.T
        d = np.sqrt(np.maximum(0, squares[:, None] - 2 * products + squares))
    return summed(d, triplets, margin, reduction)


@mistake(BATCH, "value", "few")
def mean_of_no_triplets(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """0 / 0 in a batch without a triplet: PML#107, tensorflow/addons#2447."""
    d = distances(embeddings, distance)
    value = refloss.batch_triplet_loss(embeddings, labels, margin, mining, distance, reduction)
    nothing = len(list_triplets(d, labels, mining, margin)[0]) == 0
    return np.nan if nothing and reduction == "mean" else value


@mistake(BATCH, "value", "bulk", Grade.CONVENTION)
def of_unit_vectors(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """Embeddings are normalised, whatever the distance: PyTorch Metric Learning by default."""
    x = embeddings.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return refloss.batch_triplet_loss(x, labels, margin, mining, distance, reduction)


@mistake(BATCH, "value", "ties", Grade.LOSES_DIGITS)
def bounds_of_semihard_included(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """<= for <: a negative as far as the positive, or exactly a margin farther, counts."""
    d = distances(embeddings, distance)
    triplets = list_triplets(d, labels, mining, margin)
    if mining == "semihard":
        a, p, n = list_triplets(d, labels, "all", margin)
        inside = (d[a, p] <= d[a, n]) & (d[a, n] <= d[a, p] + margin)
        triplets = a[inside], p[inside], n[inside]
    return summed(d, triplets, margin, reduction)


def gradient_with(embeddings: Any, triplets: Any, d: Any, active: Any, slope: Any) -> Any:
    """Of the sum of the triplets' euclidean losses; ``active`` and ``slope`` may be wrong."""
    x = embeddings.astype(np.float64)
    gradient = np.zeros_like(x)
    for a, p, n, on in zip(*triplets, active, strict=True):
        if on != 0:
            pull, push = on * slope(x[a] - x[p], d[a, p]), on * slope(x[a] - x[n], d[a, n])
            gradient[a] += pull - push
            gradient[p] -= pull
            gradient[n] += push
    return gradient.astype(embeddings.dtype)


@mistake(BATCH, "gradient", "duplicates")
def direction_between_equals(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """(x - y) / d is NaN between equal embeddings: tensorflow#30199."""
    loss = refloss.batch_triplet_loss
    given = (margin, mining, distance, reduction)
    value, gradient = loss.value_and_grad(embeddings, labels, *given)
    if reduction != "sum" or distance != "euclidean":
        return value, gradient
    d = distances(embeddings, distance)
    a, p, n = triplets = list_triplets(d, labels, mining, margin)
    active = np.float64(d[a, p] - d[a, n] + margin > 0)
    return value, gradient_with(embeddings, triplets, d, active, lambda r, length: r / length)


@mistake(BATCH, "gradient", "hinge")
def both_sides_of_the_hinge(
    embeddings: Any,
    labels: Any,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> Any:
    """sign for step: a triplet that keeps more than its margin is pulled back to it."""
    loss = refloss.batch_triplet_loss
    given = (margin, mining, distance, reduction)
    value, gradient = loss.value_and_grad(embeddings, labels, *given)
    if reduction != "sum" or distance != "euclidean":
        return value, gradient
    d = distances(embeddings, distance)
    a, p, n = triplets = list_triplets(d, labels, mining, margin)
    active = np.sign(d[a, p] - d[a, n] + margin)

    def slope(r: Any, length: Any) -> Any:
        return r / length if length else 0 * r

    return value, gradient_with(embeddings, triplets, d, active, slope)


@mistake(MINER, "value", "ties")
def last_of_several(
    embeddings: Any,
    labels: Any,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> Any:
    """The last of equally hard ones: an order that depends on how the maximum is taken."""
    if mining != "hard":
        return refloss.mine_triplets(embeddings, labels, mining, margin, distance)
    last = len(labels) - 1
    found = refloss.mine_triplets(embeddings[::-1], labels[::-1], mining, margin, distance)
    return tuple((last - indices)[::-1] for indices in found)


@mistake(MINER, "value", "bulk")
def positives_among_all(
    embeddings: Any,
    labels: Any,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> Any:
    """The farthest of all rows, its label not looked at, is the hardest positive: like PML#476."""
    a, p, n = refloss.mine_triplets(embeddings, labels, mining, margin, distance)
    if mining != "hard":
        return a, p, n
    return a, distances(embeddings, distance).argmax(1)[a], n


@mistake(MINER, "value", "bulk")
def semihard_without_a_margin(
    embeddings: Any,
    labels: Any,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> Any:
    """Every negative that is farther than the positive: FaceNet's text without its last clause."""
    if mining != "semihard":
        return refloss.mine_triplets(embeddings, labels, mining, margin, distance)
    d = distances(embeddings, distance)
    a, p, n = list_triplets(d, labels, "all", margin)
    harder = d[a, n] > d[a, p]
    return a[harder], p[harder], n[harder]


@mistake(MINER, "value", "bulk")
def ordered_by_negatives(
    embeddings: Any,
    labels: Any,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> Any:
    """The right triplets in the order of a loop whose outermost variable is the negative."""
    a, p, n = refloss.mine_triplets(embeddings, labels, mining, margin, distance)
    order = np.lexsort((a, p, n))
    return a[order], p[order], n[order]


@mistake(MINER, "value", "bulk")
def all_with_a_nearer_negative(
    embeddings: Any,
    labels: Any,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> Any:
    """Every triplet with d(a, n) < d(a, p): hard to PML's TripletMarginMiner, not to Hermans."""
    if mining != "hard":
        return refloss.mine_triplets(embeddings, labels, mining, margin, distance)
    d = distances(embeddings, distance)
    a, p, n = list_triplets(d, labels, "all", margin)
    harder = d[a, n] < d[a, p]
    return a[harder], p[harder], n[harder]
