"""Right losses of pairs and triplets of vectors in careful NumPy, written without refloss.

In numpy.longdouble: where that has 64 bits or more, no number of a shorter format over- or
underflows when it is squared, and no digit is missed.
"""

from typing import Any

import numpy as np

Array = Any


def narrow(like: Array, *parts: Array) -> Any:
    """Rounded to the format of an array, by way of float64: a faithful answer survives that."""
    with np.errstate(over="ignore"):
        return tuple(np.asarray(part).astype(np.float64).astype(like.dtype) for part in parts)


def wide(*arrays: Array) -> tuple[Array, ...]:
    return tuple(array.astype(np.longdouble) for array in arrays)


def units(x: Array) -> tuple[Array, Array]:
    """Directions and lengths; a vector of zeros has direction 0 and length 1."""
    (x,) = wide(x)
    lengths = np.sqrt((x * x).sum(-1, keepdims=True))
    lengths = np.where(lengths == 0, 1, lengths)
    return x / lengths, lengths


def distance(r: Array, p: float) -> tuple[Array, Array]:
    """The norm of a difference and its slope, which is 0 where the norm is."""
    size = np.abs(r)
    largest = size.max(-1, keepdims=True)
    share = size / np.where(largest == 0, 1, largest)
    if p == np.inf:
        slope = np.where(share == 1, 1 / np.maximum(1, (share == 1).sum(-1, keepdims=True)), 0)
        return largest[..., 0], np.sign(r) * slope
    total = (share**p).sum(-1, keepdims=True)
    root = np.where(total == 0, 0, np.where(total == 0, 1, total) ** (1 / np.longdouble(p)))
    slope = np.where(size == 0, 0, (share / np.where(root == 0, 1, root)) ** (p - 1))
    return (largest * root)[..., 0], np.sign(r) * slope


def across(u: Array, v: Array) -> Array:
    """What of v is not along the direction u, v - (u v) u, component by component.

    As the sum over e of u_e (v_d u_e - u_d v_e), where small components keep their digits; 0 where
    u is.
    """
    turns = v[..., :, None] * u[..., None, :] - u[..., :, None] * v[..., None, :]
    return (turns * u[..., None, :]).sum(-1)


def reduced(like: Array, losses: Array, gradients: dict[str, Array], reduction: str) -> Any:
    """Value and gradients by name, reduced and rounded."""
    scale = np.float64(losses.size if reduction == "mean" else 1)
    value = losses if reduction == "none" else losses.sum() / scale
    value, *parts = narrow(like, value, *(part / scale for part in gradients.values()))
    return value, dict(zip(gradients, parts, strict=True))


def nan_rows(*vectors: Array) -> Array:
    return np.where(sum(np.isnan(v).any(-1) for v in vectors) > 0, np.nan, 0)


def contrastive_loss(
    x1: Array,
    x2: Array,
    target: Array,
    margin: float = 1.0,
    p: float = 2.0,
    reduction: str = "mean",
) -> tuple[Array, Any]:
    x, y, t = wide(x1, x2, target)
    d, slope = distance(x - y, p)
    near = np.where(d >= margin, 0, margin - d)
    value = t * d * d + (1 - t) * near * near + nan_rows(x1, x2)
    gradient = (2 * t * d - 2 * (1 - t) * near + nan_rows(x1, x2))[..., None] * slope
    return reduced(x1, value, {"x1": gradient, "x2": -gradient}, reduction)


def triplet_margin_loss(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> tuple[Array, Any]:
    """A triplet at its margin is not active; of two equal distances the anchor's own counts."""
    a, b, c = wide(anchor, positive, negative)
    near, pull = distance(a - b + eps, p)
    far, push = distance(a - c + eps, p)
    other, from_positive = distance(b - c + eps, p)
    swapped = (other < far) & swap
    excess = near - np.where(swapped, other, far) + margin
    nan = nan_rows(anchor, positive, negative)
    active, swapped = ((excess > 0) + nan)[..., None], swapped[..., None]
    gradients = {
        "anchor": active * (pull - np.where(swapped, 0, push)),
        "positive": active * (-pull - np.where(swapped, from_positive, 0)),
        "negative": active * np.where(swapped, from_positive, push),
    }
    return reduced(anchor, np.where(excess > 0, excess, 0) + nan, gradients, reduction)


def cosine_embedding_loss(
    x1: Array, x2: Array, target: Array, margin: float = 0.0, reduction: str = "mean"
) -> tuple[Array, Any]:
    """A vector of zeros has cosine 0, and moves nothing."""
    (u, length), (v, other) = units(x1), units(x2)
    zero = (u == 0).all(-1) | (v == 0).all(-1)
    c, lack = (u * v).sum(-1), np.where(zero, 1, ((u - v) ** 2).sum(-1) / 2)
    nan = nan_rows(x1, x2)
    value = np.where(target > 0, lack, np.where(c > margin, c - margin, 0)) + nan
    slope = (np.where(target > 0, -1, c > margin) + nan)[..., None]
    gradients = {
        "input1": slope * across(u, v) / length,
        "input2": slope * across(v, u) / other,
    }
    return reduced(x1, value, gradients, reduction)


RIGHT = {
    function.__name__: function
    for function in (contrastive_loss, cosine_embedding_loss, triplet_margin_loss)
}
