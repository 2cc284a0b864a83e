"""Wrong losses of scores and distances with a hinge."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake

RANKING, EMBEDDING = "margin_ranking_loss", "hinge_embedding_loss"
CONTRASTIVE = "contrastive_loss_from_distance"


def violation(input1: Any, input2: Any, target: Any, margin: float) -> Any:
    x1, x2, t = (array.astype(np.float64) for array in (input1, input2, target))
    return -t * (x1 - x2) + margin


@mistake(RANKING, "value", "bulk")
def wrong_one_ranked_higher(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """The first input taken for the one that should be lower at target 1."""
    return np.maximum(0, violation(input2, input1, target, margin)).astype(input1.dtype)


@mistake(RANKING, "value", "nan")
def hinge_by_fmax(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """fmax(0, NaN) is 0, as CUDA's max is."""
    return np.fmax(0, violation(input1, input2, target, margin)).astype(input1.dtype)


@mistake(RANKING, "gradient", "kinks")
def hinge_as_half_the_sum(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """(v + |v|) / 2 has the derivative (1 + v / |v|) / 2: NaN where the margin is kept exactly."""
    v = violation(input1, input2, target, margin)
    value = refloss.margin_ranking_loss(input1, input2, target, margin, "none")
    return value, (-target * (1 + v / np.abs(v)) / 2).astype(input1.dtype)


@mistake(RANKING, "gradient", "kinks")
def more_than_the_full_gradient_at_a_tie(
    input1: Any, input2: Any, target: Any, margin: float = 0.0
) -> Any:
    """heaviside counted twice, once from either side: outside of the subdifferential."""
    v = violation(input1, input2, target, margin)
    value = refloss.margin_ranking_loss(input1, input2, target, margin, "none")
    return value, (-target * ((v > 0) * 1.0 + (v == 0) * 2.0)).astype(input1.dtype)


@mistake(RANKING, "gradient", "bulk")
def active_without_the_margin(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Any:
    """A pair in the right order has no gradient, even where it does not keep the margin."""
    value = refloss.margin_ranking_loss(input1, input2, target, margin, "none")
    return value, refloss.margin_ranking_loss.grad(input1, input2, target, 0.0, "none")


@mistake(EMBEDDING, "value", "bulk")
def hinge_for_similar_pairs_too(input: Any, target: Any, margin: float = 1.0) -> Any:
    """max(0, x) where the target is 1: what is below zero counts, too."""
    return np.maximum(0, np.where(target > 0, input, margin - input.astype(np.float64)))


@mistake(EMBEDDING, "gradient", "nan")
def slope_of_a_nan(input: Any, target: Any, margin: float = 1.0) -> Any:
    """A comparison with NaN is false, so that its gradient is a number: torch."""
    value = refloss.hinge_embedding_loss(input, target, margin, "none")
    x = input.astype(np.float64)
    return value, np.where(target > 0, 1, np.where(margin - x > 0, -1, 0)).astype(input.dtype)


@mistake(EMBEDDING, "value", "reductions")
def mean_over_dissimilar_pairs(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Any:
    """Only the pairs that can be inactive are counted."""
    if reduction != "mean":
        return refloss.hinge_embedding_loss(input, target, margin, reduction)
    return refloss.hinge_embedding_loss(input, target, margin, "sum") / np.sum(target < 0)


@mistake(CONTRASTIVE, "value", "bulk", Grade.CONVENTION)
def nothing_squared(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """y d + (1 - y) max(0, m - d): PyTorch Metric Learning."""
    d, y = distance.astype(np.float64), target.astype(np.float64)
    return y * d + (1 - y) * np.maximum(0, margin - d)


@mistake(CONTRASTIVE, "value", "bulk", Grade.CONVENTION)
def half_of_it(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """Hadsell's equation 4 has one half before each term."""
    return refloss.contrastive_loss_from_distance(distance, target, margin, "none") / 2


@mistake(CONTRASTIVE, "value", "bulk", Grade.CONVENTION)
def margin_for_the_square(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """max(m - d^2, 0) for max(m - d, 0)^2: Caffe's legacy_version (PR #3310)."""
    d, y = distance.astype(np.float64), target.astype(np.float64)
    return (y * d * d + (1 - y) * np.maximum(0, margin - d * d)) / 2


@mistake(CONTRASTIVE, "value", "bulk")
def one_means_dissimilar(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """Hadsell's Y is 1 for a dissimilar pair, that of most libraries for a similar one."""
    return refloss.contrastive_loss_from_distance(distance, 1 - target, margin, "none")


@mistake(CONTRASTIVE, "value", "saturation")
def no_times_far_away(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """0 * d^2 is NaN once d^2 overflows, at a distance that costs nothing."""
    y = target.astype(distance.dtype)
    near = np.maximum(0, margin - distance).astype(distance.dtype)
    return y * distance**2 + (1 - y) * near**2


@mistake(CONTRASTIVE, "gradient", "bulk")
def push_of_one_size(distance: Any, target: Any, margin: float = 1.0) -> Any:
    """The derivative of the hinge where that of its square, 2 max(0, m - d), belongs."""
    d, y = distance.astype(np.float64), target.astype(np.float64)
    value = refloss.contrastive_loss_from_distance(distance, target, margin, "none")
    return value, (2 * y * d - (1 - y) * (d < margin)).astype(distance.dtype)
