"""Right losses of a batch of embeddings in careful NumPy, written without refloss.

They compare everything with everything, in numpy.longdouble: where that has 64 bits or more, no
embedding of a shorter format over- or underflows, and no digit is missed.
"""

from typing import Any

import numpy as np

from .right_vectors import across, narrow, reduced, units

Array = Any


def distances(x: Array, kind: str) -> Array:
    """From every row to every other."""
    if kind == "cosine":
        return lacks(x, x)
    r = np.abs(x.astype(np.longdouble)[:, None] - x.astype(np.longdouble))
    r = np.sort(r, axis=-1)  # the same components in another order make the same distance
    if kind == "cityblock":
        return r.sum(-1)
    squares = (r * r).sum(-1)
    return squares if kind == "sqeuclidean" else np.sqrt(squares)


def list_triplets(d: Array, labels: Array, mining: str, margin: float) -> tuple[Array, ...]:
    """Anchors, positives and negatives."""
    same = labels[:, None] == labels
    positive = same & ~np.eye(len(labels), dtype=bool)
    if mining == "hard":
        if not len(labels):
            return (np.zeros(0, int),) * 3
        a = np.flatnonzero(positive.any(1) & ~same.all(1))
        farthest = np.where(positive, d, -np.inf).argmax(1)
        nearest = np.where(same, np.inf, d).argmin(1)
        return a, farthest[a], nearest[a]
    a, p, n = np.nonzero(positive[:, :, None] & ~same[:, None, :])
    if mining == "semihard":
        taken = (d[a, p] < d[a, n]) & (d[a, n] < d[a, p] + margin)
    else:
        taken = (d[a, n] >= d[a, p] + margin) | (mining == "all")
    return a[taken], p[taken], n[taken]


def mine_triplets(
    embeddings: Array,
    labels: Array,
    mining: str = "hard",
    margin: float = 1.0,
    distance: str = "euclidean",
) -> tuple[Array, ...]:
    return list_triplets(distances(embeddings, distance), labels, mining, margin)


def batch_triplet_loss(
    embeddings: Array,
    labels: Array,
    margin: float = 1.0,
    mining: str = "all",
    distance: str = "euclidean",
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """A triplet at its margin is not active, and equal embeddings have no slope."""
    d = distances(embeddings, distance)
    a, p, n = list_triplets(d, labels, mining, margin)
    nan = np.where(np.isnan(embeddings).any(), np.nan, 0)
    excess = d[a, p] - d[a, n] + margin
    count = {"mean": len(a), "mean_nonzero": np.sum(excess > 0), "sum": 1}[reduction]
    weight = np.zeros_like(d)
    np.add.at(weight, (a, p), np.longdouble(excess > 0))
    np.add.at(weight, (a, n), -np.longdouble(excess > 0))
    total = np.where(excess > 0, excess, 0).sum()
    gradient = slopes(weight + weight.T, embeddings, d, distance)
    return narrow(embeddings, (total + nan) / max(1, count), (gradient + nan) / max(1, count))


def slopes(weight: Array, x: Array, d: Array, kind: str) -> Array:
    """Gradient of the sum of weight times distance, each pair in both orders, by the rows."""
    if kind == "cosine":
        return chained(-weight, x, x)
    r = x.astype(np.longdouble)[:, None] - x.astype(np.longdouble)
    if kind == "euclidean":
        r = r / np.where(d == 0, 1, d)[..., None]
    elif kind == "cityblock":
        r = np.sign(r)
    else:
        r = 2 * r
    return (weight[..., None] * r).sum(1)


def chained(weight: Array, x: Array, y: Array) -> Array:
    """Gradient of the sum of weight times cosine by the rows of x, through their lengths."""
    (u, lengths), (v, _) = units(x), units(y)
    return across(u, weight @ v) / lengths


def turned(x: Array, y: Array) -> Array:
    """Gradient of each row's cosine by x."""
    (u, lengths), (v, _) = units(x), units(y)
    return across(u, v) / lengths


def surprises(gaps: Array, counted: Array, temperature: float) -> tuple[Array, Array]:
    """log(1 + sum exp(gap / t)), and the share of every gap in 1 + sum.

    A gap is by how much a similarity exceeds the positive's: the difference of their lacks.
    """
    with np.errstate(over="ignore"):
        exps = np.where(counted, np.exp(gaps / np.longdouble(temperature)), 0)
    total = exps.sum(-1)
    return np.log1p(total), exps / (1 + total)[..., None]


def lacks(x: Array, y: Array) -> Array:
    """What the cosines of two sides lack to 1."""
    u, v = units(x)[0], units(y)[0]
    zero = (u == 0).all(-1)[:, None] | (v == 0).all(-1)
    return np.where(zero, 1, ((u[:, None] - v) ** 2).sum(-1) / 2)


def nt_xent_loss(
    z_i: Array, z_j: Array, temperature: float = 0.5, reduction: str = "mean"
) -> tuple[Array, Any]:
    z, n = np.concatenate([z_i, z_j]), len(z_i)
    lack = lacks(z, z)
    rows, partner = np.arange(2 * n), np.roll(np.arange(2 * n), n)
    counted = (rows != rows[:, None]) & (rows != partner[:, None])
    losses, shares = surprises(lack[rows, partner][:, None] - lack, counted, temperature)
    shares[rows, partner] = -shares.sum(1)
    gradient = chained(shares + shares.T, z, z) / temperature
    losses = losses + np.where(np.isnan(z).any(), np.nan, 0)
    return reduced(z_i, losses, {"z_i": gradient[:n], "z_j": gradient[n:]}, reduction)


def info_nce_loss(
    query: Array,
    positive_key: Array,
    negative_keys: Array | None = None,
    temperature: float = 0.07,
    reduction: str = "mean",
) -> tuple[Array, Any]:
    n = len(query)
    positive = np.diagonal(lacks(query, positive_key))
    others = positive_key if negative_keys is None else negative_keys
    far = lacks(query, others)
    counted = ~np.eye(n, dtype=bool) if negative_keys is None else np.ones_like(far, bool)
    losses, shares = surprises(positive[:, None] - far, counted, temperature)
    pair, total_share = (query, positive_key), shares.sum(1)[:, None]
    pushes = chained(shares.T, others, query)
    pulls = {
        "query": chained(shares, query, others) - total_share * turned(*pair),
        "positive_key": -total_share * turned(*pair[::-1]),
    }
    if negative_keys is None:
        pulls["positive_key"] = pulls["positive_key"] + pushes
    else:
        pulls["negative_keys"] = pushes
    gradients = {name: pull / temperature for name, pull in pulls.items()}
    return reduced(query, losses, gradients, reduction)


def sup_con_loss(
    embeddings: Array, labels: Array, temperature: float = 0.1, reduction: str = "mean"
) -> tuple[Array, Any]:
    """Of each positive the surprise among all others; their mean for the anchor."""
    n = len(labels)
    lack = lacks(embeddings, embeddings)
    other = ~np.eye(n, dtype=bool)
    positive = (labels[:, None] == labels) & other
    counts = positive.sum(1)
    counted = other[:, None, :] & ~np.eye(n, dtype=bool)[None]
    surprise, shares = surprises(lack[:, :, None] - lack[:, None, :], counted, temperature)
    shares = shares - np.eye(n)[None] * shares.sum(-1)[..., None]
    mean = np.where(positive, 1, 0) / np.maximum(1, counts)[:, None]
    losses = np.where(positive, surprise, 0).sum(1) / np.maximum(1, counts)
    losses = losses + np.where(np.isnan(embeddings).any() & (counts > 0), np.nan, 0)
    weight = (mean[..., None] * np.where(positive[..., None], shares, 0)).sum(1)
    gradient = chained(weight + weight.T, embeddings, embeddings) / temperature
    if reduction == "mean":
        anchors = max(1, (counts > 0).sum())
        losses, gradient = losses.sum() / anchors, gradient / anchors
        reduction = "sum"
    return reduced(embeddings, losses, {"embeddings": gradient}, reduction)


RIGHT = {
    function.__name__: function
    for function in (
        batch_triplet_loss,
        info_nce_loss,
        mine_triplets,
        nt_xent_loss,
        sup_con_loss,
    )
}
