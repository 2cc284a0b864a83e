"""Right losses of a batch of embeddings in careful NumPy, written without refloss.

They compare everything with everything, in numpy.longdouble: where that has 64 bits or more, no
embedding of a shorter format over- or underflows, and no digit is missed.
"""

from typing import Any

import numpy as np

Array = Any


def units(x: Array) -> tuple[Array, Array]:
    """Directions and lengths; a vector of zeros has direction 0 and length 1."""
    x = x.astype(np.longdouble)
    lengths = np.sqrt((x * x).sum(-1, keepdims=True))
    lengths = np.where(lengths == 0, 1, lengths)
    return x / lengths, lengths


def distances(x: Array, kind: str) -> Array:
    """From every row to every other."""
    r = x.astype(np.longdouble)[:, None] - x.astype(np.longdouble)
    if kind == "cosine":
        u, _ = units(x)
        zero = (u == 0).all(-1)
        return np.where(zero[:, None] | zero, 1, ((u[:, None] - u) ** 2).sum(-1) / 2)
    if kind == "cityblock":
        return np.abs(r).sum(-1)
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
