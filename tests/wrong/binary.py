"""Wrong binary cross-entropies."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake

LOGITS = "binary_cross_entropy_with_logits"
PROBABILITIES = "binary_cross_entropy"


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def right(input: Any, target: Any, **more: Any) -> tuple[Any, Any]:
    value, gradient = refloss.binary_cross_entropy_with_logits.value_and_grad(
        input, target, reduction="none", **more
    )
    return value, gradient


@mistake(LOGITS, "value", "saturation")
def log_of_sigmoid(input: Any, target: Any) -> Any:
    """The definition typed in: infinite from z = 17 on in float32 (tensorflow#40606)."""
    p = sigmoid(input)
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


@mistake(LOGITS, "value", "tails", dtype="float64")
def softplus_minus_product(input: Any, target: Any) -> Any:
    """log(1 + e^z) - t z loses every digit at t = 1, z > 37: scikit-learn's binomial loss."""
    return np.logaddexp(0, input) - target * input


@mistake(LOGITS, "gradient", "tails")
def sigmoid_minus_target(input: Any, target: Any) -> Any:
    """0 where the prediction is confident, though the value is not: torch."""
    return right(input, target)[0], sigmoid(input) - target


@mistake(LOGITS, "value", "infinite")
def infinity_minus_infinity(input: Any, target: Any) -> Any:
    """max(z, 0) - t z + log(1 + e^-|z|) at an infinite logit: pytorch#135359, candle#2561."""
    return np.maximum(input, 0) - input * target + np.log1p(np.exp(-np.abs(input)))


@mistake(LOGITS, "gradient", "ties")
def derivative_of_a_clamp(input: Any, target: Any) -> Any:
    """Autograd through clamp(min=0) took slope 0 at its kink: 0 for 1/2 at z = 0, pytorch#2298."""
    gradient = np.where(input > 0, 1, 0) - target - np.sign(input) * sigmoid(-np.abs(input))
    return right(input, target)[0], gradient.astype(input.dtype)


@mistake(LOGITS, "curvature", "tails")
def sigmoid_times_one_minus_sigmoid(input: Any, target: Any) -> Any:
    """p (1 - p) is 0 for z > 17 in float32: scikit-learn#28046, LightGBM PR #6327, xgboost#2955."""
    p = sigmoid(input)
    return *right(input, target), p * (1 - p)


@mistake(LOGITS, "value", "reductions")
def pos_weight_on_both_terms(input: Any, target: Any, pos_weight: Any = None) -> Any:
    """pos_weight applied to the wrong terms: Paddle PR #65859, aprender PR #2204."""
    value = right(input, target)[0]
    return value if pos_weight is None else (pos_weight * value).astype(input.dtype)


@mistake(LOGITS, "value", "reductions", Grade.CONVENTION)
def weighted_mean_over_the_weights(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """What pytorch#54843 asked for, and what other losses of torch do."""
    wide = input.astype(np.float64), target.astype(np.float64)
    total = refloss.binary_cross_entropy_with_logits(*wide, weight, "sum")
    if weight is None or reduction != "mean":
        return refloss.binary_cross_entropy_with_logits(input, target, weight, reduction)
    return total / np.broadcast_to(weight, input.shape).sum(dtype=np.float64)


@mistake(LOGITS, "gradient", "reductions")
def upstream_gradient_ignored(input: Any, target: Any, reduction: str = "mean") -> Any:
    """The gradient of the sum whatever the reduction: pytorch#94226 on MPS, Liger#968."""
    value = refloss.binary_cross_entropy_with_logits(input, target, reduction=reduction)
    return value, right(input, target)[1]


@mistake(PROBABILITIES, "value", "zeros")
def clipped_at_1e_7(input: Any, target: Any) -> Any:
    """Keras: no loss above 16.118, and none below 1.19e-7 (keras#9664, #17634)."""
    p = np.clip(input, np.float32(1e-7), np.float32(1 - 1e-7))
    return -(target * np.log(p) + (1 - target) * np.log1p(-p))


@mistake(PROBABILITIES, "gradient", "tails")
def gradient_dies_in_the_clip(input: Any, target: Any) -> Any:
    """Outside the clip nothing is learned any more: keras#15249."""
    value, gradient = refloss.binary_cross_entropy.value_and_grad(input, target, reduction="none")
    return value, np.where((input < 1e-7) | (input > 1 - 1e-7), 0, gradient)


@mistake(PROBABILITIES, "value", "zeros", Grade.CONVENTION)
def logarithm_clamped_at_minus_100(input: Any, target: Any) -> Any:
    """torch: 100 where the answer is infinite."""
    positive, negative = np.maximum(np.log(input), -100), np.maximum(np.log1p(-input), -100)
    return -(target * positive + (1 - target) * negative)


@mistake(PROBABILITIES, "value", "nan")
def maximum_drops_nan(input: Any, target: Any) -> Any:
    """fmax takes the number, not the NaN: keras#23661 on Metal, max(nan, 0) on CUDA."""
    positive, negative = np.fmax(np.log(input), -100), np.fmax(np.log1p(-input), -100)
    return -(target * positive + (1 - target) * negative)


@mistake(PROBABILITIES, "value", "tails")
def log_of_one_minus_p(input: Any, target: Any) -> Any:
    """log(1 - p) for log1p(-p): 0 for small p; most hand-written versions."""
    return -(np.where(target > 0, target * np.log(input), 0) + (1 - target) * np.log(1 - input))
