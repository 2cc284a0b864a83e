"""Wrong cross-entropies."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import class_back, class_last, masses, mistake


def log_softmax(z: Any) -> Any:
    """What everybody computes: class axis last, in the input's format."""
    shifted = z - z.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@mistake("cross_entropy", "value", "saturation")
def log_of_softmax(input: Any, target: Any) -> Any:
    """The formula as papers print it, without the shift: exp overflows (pytorch#11752)."""
    e = np.exp(class_last(input))
    p = e / e.sum(-1, keepdims=True)
    return -(masses(input, target) * np.log(p)).sum(-1)


@mistake("cross_entropy", "value", "tails")
def logsumexp_minus_logit(input: Any, target: Any) -> Any:
    """0 where the row is confident: torch, optax, TensorFlow, scipy#19521, pytorch#113708."""
    y = masses(input, target)
    return -np.where(y > 0, y * log_softmax(class_last(input)), 0).sum(-1)


@mistake("cross_entropy", "value", "offset", Grade.LOSES_DIGITS)
def shift_added_again_before_the_difference(input: Any, target: Any) -> Any:
    """A common offset swallows the answer: optax#1792, mlx#4188, scikit-learn's multinomial."""
    z = class_last(input)
    top = z.max(-1, keepdims=True)
    log_total = top + np.log(np.exp(z - top).sum(-1, keepdims=True))
    y = masses(input, target)
    return np.where(y > 0, y * (log_total - z), 0).sum(-1)


@mistake("cross_entropy", "value", "tails", dtype="float16")
def softmax_in_half_precision(input: Any, target: Any) -> Any:
    """float16 all the way: 0 from a gap of 9 on, as torch computes it without autocast."""
    z = class_last(input)
    e = np.exp(z - z.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True, dtype=e.dtype)
    y = masses(input, target)
    return -np.where(y > 0, y * np.log(p), 0).sum(-1, dtype=e.dtype)


@mistake("cross_entropy", "gradient", "tails")
def softmax_minus_onehot(input: Any, target: Any, reduction: str = "mean") -> Any:
    """p_y - 1 is 0 where the row is confident: torch, optax, scikit-learn."""
    value = refloss.cross_entropy(input, target, reduction=reduction)
    y = masses(input, target)
    total = y.sum(-1, keepdims=True)
    gradient = total * np.exp(log_softmax(class_last(input))) - y
    rows = total.sum() if target.dtype.kind == "i" else total.size
    return value, class_back(gradient) / (rows if reduction == "mean" else 1)


@mistake("cross_entropy", "curvature", "bulk")
def twice_the_hessian(input: Any, target: Any) -> Any:
    """2 p (1 - p), which XGBoost and LightGBM return for the softmax (xgboost#2602)."""
    value, gradient = refloss.cross_entropy.value_and_grad(input, target, reduction="none")
    return value, gradient, 2 * refloss.cross_entropy.hessian_diag(input, target, reduction="none")


@mistake("cross_entropy", "value", "ignored")
def negative_label_wraps(input: Any, target: Any) -> Any:
    """A label below 0 counts from the end, as optax takes -1 for the last class."""
    classes = class_last(input).shape[-1]
    wrapped = target % classes if target.dtype.kind == "i" else target
    return refloss.cross_entropy(input, wrapped, reduction="none")


@mistake("cross_entropy", "value", "ignored", Grade.CONVENTION)
def all_ignored_gives_zero(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", label_smoothing: float = 0
) -> Any:
    """torch before 1.11 (pytorch#70348, #75181), Keras and Liger: the mean of nothing is 0."""
    value = refloss.cross_entropy(
        input, target, weight, reduction=reduction, label_smoothing=label_smoothing
    )
    return np.float32(0) if (target == -100).all() and reduction == "mean" else value


@mistake("cross_entropy", "value", "ignored", Grade.CONVENTION)
def ignored_rows_in_the_denominator(input: Any, target: Any, reduction: str = "mean") -> Any:
    """The mean over all rows, ignored ones too (part of what pytorch#72056 reported)."""
    if reduction == "mean":
        return refloss.cross_entropy(input, target, reduction="sum") / np.float32(target.size)
    return refloss.cross_entropy(input, target, reduction=reduction)


@mistake("cross_entropy", "value", "reductions", Grade.CONVENTION)
def weighted_mean_over_the_count(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Keras' default for sample weights: the weighted sum over the number of rows."""
    if reduction == "mean" and target.dtype.kind == "i":
        kept = np.float64((target != -100).sum())
        wide = input.astype(np.float64)
        return refloss.cross_entropy(wide, target, weight, reduction="sum") / kept
    return refloss.cross_entropy(input, target, weight, reduction=reduction)


@mistake("cross_entropy", "value", "reductions", Grade.LOSES_DIGITS)
def uniform_part_counts_ignored_rows(
    input: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """torch 1.10 smoothed ignored rows too: pytorch#69339, #72056, #73205."""
    if reduction == "none" or target.dtype.kind != "i" or label_smoothing == 0:
        return refloss.cross_entropy(
            input, target, reduction=reduction, label_smoothing=label_smoothing
        )
    wide = input.astype(np.float64)
    kept = refloss.cross_entropy(wide, target, reduction="sum")
    uniform = -log_softmax(class_last(wide)).mean(-1).sum()
    total = (1 - label_smoothing) * kept + label_smoothing * uniform
    return total / (target != -100).sum() if reduction == "mean" else total


@mistake("cross_entropy", "value", "reductions", Grade.CONVENTION)
def smoothing_over_the_other_classes(
    input: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """eps / (C - 1) off the label, nothing of eps on it: awslabs/sockeye PR #203."""
    if target.dtype.kind != "i" or reduction == "mean":
        return refloss.cross_entropy(
            input, target, reduction=reduction, label_smoothing=label_smoothing
        )
    hit = masses(input, target).astype(np.float64)
    off = label_smoothing / (hit.shape[-1] - 1)
    y = (1 - label_smoothing) * hit + off * (hit.sum(-1, keepdims=True) - hit)
    wide = input.astype(np.float64)
    return refloss.cross_entropy(wide, class_back(y), reduction=reduction)


@mistake("cross_entropy", "value", "reductions", Grade.CONVENTION)
def weight_of_the_label_times_smoothed_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """w_y CE(q) for -sum_c w_c q_c log p_c: one of the readings in pytorch#69339."""
    if target.dtype.kind != "i" or weight is None or reduction != "none":
        return refloss.cross_entropy(
            input, target, weight, reduction=reduction, label_smoothing=label_smoothing
        )
    rows = refloss.cross_entropy(
        input.astype(np.float64), target, reduction="none", label_smoothing=label_smoothing
    )
    return rows * weight.astype(np.float64)[np.where(target < 0, 0, target)]


@mistake("cross_entropy", "value", "nan")
def nan_becomes_zero(input: Any, target: Any) -> Any:
    """Cleaned up before the loss, so that no alarm goes off (keras#23661: 100.0 for a NaN)."""
    return refloss.cross_entropy(np.nan_to_num(input), target, reduction="none")


@mistake("cross_entropy", "value", "infinite", Grade.CONVENTION)
def zero_mass_times_infinity(input: Any, target: Any) -> Any:
    """0 * inf at an impossible class that has no mass: optax#896, torch with dense targets."""
    z = class_last(input.astype(np.float64))
    return -(masses(input, target) * log_softmax(z)).sum(-1)


@mistake("cross_entropy", "value", "reductions")
def class_axis_last(input: Any, target: Any) -> Any:
    """Keras' and optax's axis; on torch's (N, C, d) it sums over positions."""
    if target.dtype.kind != "i" and input.ndim > 1:
        rows = -(target * log_softmax(input)).sum(-1)
        return rows.astype(input.dtype)
    return refloss.cross_entropy(input, target, reduction="none")


@mistake("cross_entropy", "value", "large", Grade.LOSES_DIGITS)
def running_sum_in_single_precision(input: Any, target: Any, reduction: str = "mean") -> Any:
    """A loop that adds a million float32 numbers one by one, as NumPy's sum did before 1.9."""
    rows = np.ravel(refloss.cross_entropy(input, target, reduction="none"))
    total = np.cumsum(rows, dtype=np.float32)[-1]
    return total / np.float32(rows.size) if reduction == "mean" else total


@mistake("cross_entropy", "value", "reductions", Grade.LOSES_DIGITS)
def mean_of_means(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Gradient accumulation averages unequal parts: transformers PR #34191, OpenNMT-py#2209."""
    if reduction != "mean" or target.dtype.kind != "i" or input.ndim == 1:
        return refloss.cross_entropy(input, target, reduction=reduction)
    parts = [refloss.cross_entropy(input[i : i + 1], target[i : i + 1]) for i in range(len(input))]
    return np.nanmean(parts)
