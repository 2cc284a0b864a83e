"""Wrong losses of pairs and triplets of vectors."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake, reduced

TRIPLET = "triplet_margin_loss"


def wide(*arrays: Any) -> tuple[Any, ...]:
    return tuple(array.astype(np.float64) for array in arrays)


def distance(x: Any, y: Any, p: float, eps: float = 0.0) -> Any:
    x, y = wide(x, y)
    return np.linalg.norm(x - y + eps, ord=p, axis=-1)


@mistake(TRIPLET, "value", "bulk")
def no_absolute_value(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
) -> Any:
    """(sum (x - y)^p)^(1/p) for an odd p: optax, and MLX until PR #3613."""
    if p == np.inf:
        return refloss.triplet_margin_loss(
            anchor, positive, negative, margin, p, eps, False, "none"
        )

    def far(x: Any, y: Any) -> Any:
        x, y = wide(x, y)
        return np.sum((x - y + eps) ** p, -1) ** (1 / p)

    return np.maximum(0, far(anchor, positive) - far(anchor, negative) + margin)


@mistake(TRIPLET, "value", "bulk", Grade.CONVENTION)
def eps_below_the_root(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
) -> Any:
    """Added to the sum and not to the components: optax."""
    if p == np.inf:
        return refloss.triplet_margin_loss(
            anchor, positive, negative, margin, p, eps, False, "none"
        )

    def far(x: Any, y: Any) -> Any:
        return (distance(x, y, p) ** p + eps) ** (1 / p)

    return np.maximum(0, far(anchor, positive) - far(anchor, negative) + margin)


@mistake(TRIPLET, "value", "duplicates", Grade.LOSES_DIGITS, "float64")
def no_eps_at_all(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
) -> Any:
    """The distance of the books under the name of torch's: equal vectors are eps apart there."""
    return refloss.triplet_margin_loss(anchor, positive, negative, margin, p, 0.0, False, "none")


@mistake(TRIPLET, "value", "bulk")
def squared_distances(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
) -> Any:
    """FaceNet's loss, whose distances are squared, for Balntas's."""
    near, far = distance(anchor, positive, p, eps), distance(anchor, negative, p, eps)
    return np.maximum(0, near**2 - far**2 + margin)


@mistake(TRIPLET, "value", "bulk")
def swap_for_the_farther(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Any:
    """max for min: the easier of the two negatives is kept away."""
    far = distance(anchor, negative, p, eps)
    if swap:
        far = np.maximum(far, distance(positive, negative, p, eps))
    return np.maximum(0, distance(anchor, positive, p, eps) - far + margin)


@mistake(TRIPLET, "value", "reductions", Grade.LOSES_DIGITS)
def mean_over_active_triplets(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """Losses of zero do not count: PyTorch Metric Learning by default."""
    losses = refloss.triplet_margin_loss(
        *wide(anchor, positive, negative), margin, p, eps, swap, "none"
    )
    return losses[losses > 0].mean() if reduction == "mean" else reduced(losses, reduction)


@mistake(TRIPLET, "gradient", "duplicates")
def slope_of_no_distance(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
) -> Any:
    """(x - y) / ||x - y|| is NaN between equal vectors: tensorflow#30199."""
    loss = refloss.triplet_margin_loss
    value, gradient = loss.value_and_grad(anchor, positive, negative, margin, p, eps, False, "none")
    if p != 2:
        return value, gradient

    def slope(x: Any, y: Any) -> Any:
        x, y = wide(x, y)
        return (x - y + eps) / np.linalg.norm(x - y + eps, axis=-1, keepdims=True)

    pull = slope(anchor, positive) - slope(anchor, negative)
    return value, np.where(value[..., None] > 0, pull, 0 * pull).astype(anchor.dtype)


@mistake(TRIPLET, "gradient", "hinge")
def both_of_two_equal_distances(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Any:
    """At a tie of the swap each distance gets the whole gradient, as if both were the smaller."""
    loss = refloss.triplet_margin_loss
    given = {
        "margin": margin,
        "p": p,
        "eps": eps,
        "reduction": "none",
        "wrt": ("negative", "positive"),
    }
    value, (gradient, _) = loss.value_and_grad(anchor, positive, negative, swap=swap, **given)
    own, other = distance(anchor, negative, p, eps), distance(positive, negative, p, eps)
    if swap and p == 2:
        x, y = wide(positive, negative)
        tie = ((own == other) & (own > 0) & (value > 0))[..., None]
        push = (x - y + eps) / np.where(tie, other[..., None], 1)
        gradient = gradient + np.where(tie, push, 0)
    return value, {"negative": gradient.astype(negative.dtype)}


CONTRASTIVE = "contrastive_loss"


@mistake(CONTRASTIVE, "value", "near-duplicates", Grade.LOSES_DIGITS)
def square_of_a_difference_multiplied_out(
    x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0
) -> Any:
    """|x|^2 - 2 x y + |y|^2, as matrix products give it: torch.cdist of more than 25 rows."""
    if p != 2:
        return refloss.contrastive_loss(x1, x2, target, margin, p, "none")
    square = (x1 * x1).sum(-1) - 2 * (x1 * x2).sum(-1) + (x2 * x2).sum(-1)
    square = np.maximum(0, square)
    return target * square + (1 - target) * np.maximum(0, margin - np.sqrt(square)) ** 2


@mistake(CONTRASTIVE, "value", "near-duplicates", Grade.LOSES_DIGITS)
def eps_of_pairwise_distance(
    x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0
) -> Any:
    """1e-6 in every component, which is all there is between vectors that almost meet."""
    d, (t,) = distance(x1, x2, p, 1e-6), wide(target)
    return t * d**2 + (1 - t) * np.maximum(0, margin - d) ** 2


@mistake(CONTRASTIVE, "value", "bulk", Grade.CONVENTION)
def distance_for_its_square(
    x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0
) -> Any:
    """y d + (1 - y) max(0, m - d): PyTorch Metric Learning."""
    d, (t,) = distance(x1, x2, p), wide(target)
    return t * d + (1 - t) * np.maximum(0, margin - d)


@mistake(CONTRASTIVE, "value", "bulk")
def euclidean_for_any_p(x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0) -> Any:
    """The exponent is taken and not used."""
    return refloss.contrastive_loss(x1, x2, target, margin, 2.0, "none")


@mistake(CONTRASTIVE, "gradient", "duplicates")
def no_direction_to_push(x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0) -> Any:
    """sqrt has no slope at 0: NaN for a dissimilar pair of equal vectors."""
    value, gradient = refloss.contrastive_loss.value_and_grad(x1, x2, target, margin, p, "none")
    if p != 2:
        return value, gradient
    d, (x, y, t) = distance(x1, x2, p)[..., None], wide(x1, x2, target[..., None])
    slope = 2 * t * d - 2 * (1 - t) * np.maximum(0, margin - d)
    return value, (slope * (x - y) / d).astype(x1.dtype)


@mistake(CONTRASTIVE, "gradient", "bulk")
def gradient_of_the_other_vector(
    x1: Any, x2: Any, target: Any, margin: float = 1.0, p: float = 2.0
) -> Any:
    """y - x for x - y: similar vectors are pushed apart."""
    value, gradient = refloss.contrastive_loss.value_and_grad(x1, x2, target, margin, p, "none")
    return value, -gradient


COSINE = "cosine_embedding_loss"


def norm(x: Any) -> Any:
    return np.linalg.norm(x, axis=-1, keepdims=True)


def cosine(x: Any, y: Any) -> Any:
    """0 for a vector of zeros."""
    lengths = (norm(x) * norm(y))[..., 0]
    return (x * y).sum(-1) / np.where(lengths == 0, 1, lengths)


def cosine_loss(cosine: Any, target: Any, margin: float) -> Any:
    return np.where(target > 0, 1 - cosine, np.maximum(0, cosine - margin))


@mistake(COSINE, "value", "near-duplicates", Grade.LOSES_DIGITS)
def one_minus_cosine(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """1 - cos of vectors that are nearly parallel is what rounding left: optax.cosine_distance."""
    return cosine_loss(cosine(input1, input2), target, margin)


@mistake(COSINE, "value", "zero-vectors")
def direction_of_a_zero_vector(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """0 / 0: optax, whose epsilon is 0 by default."""
    x, y, t = wide(input1, input2, target)
    return cosine_loss((x / norm(x) * y / norm(y)).sum(-1), t, margin)


@mistake(COSINE, "value", "norms", Grade.CONVENTION)
def squares_of_tiny_vectors_raised(
    input1: Any, input2: Any, target: Any, margin: float = 0.0
) -> Any:
    """1e-12 is added to the squares before the root: torch."""
    x, y, t = wide(input1, input2, target)
    eps = np.float64(np.float32(1e-12))
    lengths = np.sqrt(((x * x).sum(-1) + eps) * ((y * y).sum(-1) + eps))
    return cosine_loss((x * y).sum(-1) / lengths, t, margin)


@mistake(COSINE, "value", "bulk")
def zero_for_dissimilar(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """The target of contrastive_loss, 0 or 1: -1 counts as -1 times similar."""
    x, y, t = wide(input1, input2, target)
    c = cosine(x, y)
    return t * (1 - c) + (1 - t) * np.maximum(0, c - margin)


@mistake(COSINE, "gradient", "bulk")
def gradient_past_the_normalisation(
    input1: Any, input2: Any, target: Any, margin: float = 0.0
) -> Any:
    """The unit vectors taken for the parameters: nothing is projected, nothing divided."""
    value = refloss.cosine_embedding_loss(input1, input2, target, margin, "none")
    x, y, t = wide(input1, input2, target[..., None])
    v = y / np.where(norm(y) == 0, 1, norm(y))
    active = cosine(x, y)[..., None] > margin
    return value, np.where(t > 0, -v, np.where(active, v, 0)).astype(input1.dtype)
