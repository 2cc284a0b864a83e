"""Wrong focal losses."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import class_back, class_last, masses, mistake

SIGMOID, SOFTMAX = "sigmoid_focal_loss", "softmax_focal_loss"


def right(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> tuple[Any, Any]:
    value, gradient = refloss.sigmoid_focal_loss.value_and_grad(
        input, target, alpha, gamma, reduction="none"
    )
    return value, gradient


def parts(z: Any, t: Any, alpha: float | None) -> tuple[Any, Any, Any, Any]:
    """p, 1 - p_t, alpha_t and cross-entropy in float64, as everybody writes them."""
    z, t = z.astype(np.float64), t.astype(np.float64)
    p = 1 / (1 + np.exp(-z))
    balance = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    miss = (1 - p) * t + p * (1 - t)
    return p, miss, balance, t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)


@mistake(SIGMOID, "gradient", "bulk")
def focus_taken_for_a_constant(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> Any:
    """No chain rule through (1 - p_t)^gamma: LightGBM#3706, LightGBM-with-Focal-Loss#3."""
    p, miss, balance, _ = parts(input, target, alpha)
    return right(input, target, alpha, gamma)[0], balance * miss**gamma * (p - target)


@mistake(SIGMOID, "curvature", "bulk")
def hessian_without_the_focus(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> Any:
    """alpha_t (1 - p_t)^gamma p (1 - p), its other terms lost: rahowa/catboost_focal_loss#2."""
    p, miss, balance, _ = parts(input, target, alpha)
    return *right(input, target, alpha, gamma), balance * miss**gamma * p * (1 - p)


@mistake(SIGMOID, "gradient", "tails")
def power_of_zero(input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0) -> Any:
    """0^(gamma - 1) for gamma < 1: NaN in torchvision, optax#1267, kornia#918, mmcv#1488."""
    p, miss, balance, entropy = parts(input, target, alpha)
    slope = (1 - 2 * target) * p * (1 - p)
    inner = gamma * miss ** (gamma - 1) * slope * entropy + miss**gamma * (p - target)
    return right(input, target, alpha, gamma)[0], balance * inner


@mistake(SIGMOID, "value", "bulk", Grade.CONVENTION)
def alpha_on_positives_only(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> Any:
    """alpha on the positives, 1 on the negatives: MONAI with a sequence, kornia#875."""
    value = refloss.sigmoid_focal_loss(
        input.astype(np.float64), target.astype(np.float64), None, gamma, reduction="none"
    )
    return value if alpha is None else (alpha * target + (1 - target)) * value


@mistake(SIGMOID, "value", "bulk", Grade.CONVENTION)
def alpha_everywhere(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> Any:
    """Keras' categorical focal loss multiplies every class."""
    value = refloss.sigmoid_focal_loss(
        input.astype(np.float64), target.astype(np.float64), None, gamma, reduction="none"
    )
    return value if alpha is None else alpha * value


@mistake(SIGMOID, "value", "saturation")
def probability_clipped_first(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0
) -> Any:
    """16.118 at z = -40, and at z = -4000 still: Keras on its torch and jax backends."""
    p = np.clip(parts(input, target, alpha)[0], 1e-7, 1 - 1e-7)
    miss, balance = parts(input, target, alpha)[1:3]
    return -balance * miss**gamma * (target * np.log(p) + (1 - target) * np.log1p(-p))


@mistake(SOFTMAX, "gradient", "bulk")
def softmax_focus_taken_for_a_constant(input: Any, target: Any, gamma: float = 2.0) -> Any:
    """(1 - p_y)^gamma (p - y): HeyLynne/FocalLoss_for_multiclass#5, LightGBM#2052."""
    value = refloss.softmax_focal_loss(input, target, gamma, reduction="none")
    entropy, gradient = refloss.cross_entropy.value_and_grad(input, target, reduction="none")
    focus = -(np.expm1(-entropy.astype(np.float64)) ** gamma)
    return value, class_back(-np.expand_dims(focus, -1) * class_last(gradient))


@mistake(SOFTMAX, "value", "tails")
def one_minus_p_by_subtraction(input: Any, target: Any, gamma: float = 2.0) -> Any:
    """p_y rounds to 1, and a confident row has no loss and no focus left: kornia, sam3#576."""
    z = class_last(input)
    e = np.exp(z - z.max(-1, keepdims=True))
    p = (masses(input, target) * e).sum(-1) / e.sum(-1)
    return (1 - p) ** np.float32(gamma) * -np.log(p)
