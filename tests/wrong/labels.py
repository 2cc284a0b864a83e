"""Wrong smoothed labels and class weights."""

from typing import Any

import numpy as np

from refloss.accuracy import Grade

from .mistake import mistake


@mistake("smooth_labels", "value", "indices", Grade.CONVENTION)
def smoothing_over_other_classes(target: Any, num_classes: int, epsilon: float) -> Any:
    """eps / (C - 1) for the other classes: awslabs/sockeye PR #203, disputed in pytorch#148884."""
    hit = np.asarray(target)[..., None] == np.arange(num_classes)
    return np.where(hit, 1 - epsilon, epsilon / (num_classes - 1))


@mistake("smooth_labels", "value", "indices", Grade.CONVENTION)
def half_epsilon(target: Any, num_classes: int, epsilon: float) -> Any:
    """y (1 - eps) + eps / 2: Keras' binary smoothing, used with more than two classes."""
    hit = np.asarray(target)[..., None] == np.arange(num_classes)
    return hit * (1 - epsilon) + epsilon / 2


@mistake("class_balanced_weights", "value", "counts", Grade.LOSES_DIGITS, "float64")
def one_minus_a_power_near_one(counts: Any, beta: float = 0.999) -> Any:
    """1 - beta**n cancels for beta near 1, where the paper wants it: class-balanced-loss."""
    raw = (1 - beta) / (1 - np.power(beta, counts, dtype=np.float64)) if beta < 1 else 1 / counts
    return raw / raw.sum() * len(counts)


@mistake("class_balanced_weights", "value", "unseen", Grade.WRONG, "float64")
def unseen_class_takes_all(counts: Any, beta: float = 0.999) -> Any:
    """(1 - beta) / 0 at a count of 0, then inf / inf: class-balanced-loss#17, autrainer#84."""
    raw = (1 - beta) / (1 - np.power(beta, counts, dtype=np.float64)) if beta < 1 else 1 / counts
    return raw / raw.sum() * len(counts)


@mistake("class_balanced_weights", "value", "counts", Grade.CONVENTION, "float64")
def weights_that_sum_to_one(counts: Any, beta: float = 0.999) -> Any:
    """To C or to 1? class-balanced-loss#7."""
    with np.errstate(all="ignore"):
        lost = -np.expm1(counts * np.log(beta)) if beta < 1 else counts.astype(np.float64)
    return (1 / lost) / (1 / lost).sum()
