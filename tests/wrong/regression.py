"""Wrong regression losses."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake, reduced


@mistake("huber_loss", "value", "bulk", Grade.CONVENTION)
def smooth_l1_called_huber(input: Any, target: Any, delta: float = 1.0) -> Any:
    """Divided by delta: the two losses are taken for one."""
    return refloss.smooth_l1_loss(input, target, "none", delta)


@mistake("smooth_l1_loss", "value", "bulk", Grade.CONVENTION)
def huber_called_smooth_l1(input: Any, target: Any, beta: float = 1.0) -> Any:
    """Multiplied by beta: Paddle's smooth_l1_loss by default (docs PR #7323)."""
    if beta == 0:
        return refloss.l1_loss(input, target, "none")
    return refloss.huber_loss(input, target, "none", beta)


@mistake("huber_loss", "value", "bulk")
def missing_absolute_value(input: Any, target: Any, delta: float = 1.0) -> Any:
    """r > delta for |r| > delta: a large negative residual stays in the parabola."""
    r = (input - target).astype(np.float64)
    return np.where(r > delta, delta * (r - delta / 2), r * r / 2)


@mistake("huber_loss", "value", "bulk", Grade.LOSES_DIGITS)
def right_for_delta_one_only(input: Any, target: Any, delta: float = 1.0) -> Any:
    """The arms of the special case with another threshold do not meet."""
    a = np.abs((input - target).astype(np.float64))
    return np.where(a > delta, delta * (a - 0.5), a * a / 2)


@mistake("huber_loss", "value", "reductions", Grade.CONVENTION)
def weighted_like_its_sister(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """Over the sum of the weights, as torch 2.13 does in mse_loss but not in huber_loss."""
    if reduction != "mean" or weight is None:
        return refloss.huber_loss(input, target, reduction, delta, weight)
    wide = input.astype(np.float64), target.astype(np.float64)
    total = refloss.huber_loss(*wide, "sum", delta, weight)
    return total / np.broadcast_to(weight, input.shape).sum(dtype=np.float64)


@mistake("huber_loss", "curvature", "bulk")
def hessian_of_ones(input: Any, target: Any, delta: float = 1.0) -> Any:
    """1 in the linear arm too, so that a booster's leaf weights exist (LightGBM, xgboost#5769)."""
    value, gradient = refloss.huber_loss.value_and_grad(input, target, "none", delta)
    return value, gradient, np.ones_like(input)


@mistake("l1_loss", "gradient", "kinks")
def residual_over_its_absolute_value(input: Any, target: Any) -> Any:
    """0 / 0 at the kink, as the derivative of sqrt(r^2) is: tensorflow#30199."""
    r = input - target
    return refloss.l1_loss(input, target, "none"), r / np.abs(r)


@mistake("l1_loss", "value", "nan")
def larger_of_two_numbers(input: Any, target: Any) -> Any:
    """|r| as fmax(r, -r), and a NaN as 0 from there: CUDA's max."""
    r = input - target
    return np.fmax(np.fmax(r, -r), 0)


@mistake("mse_loss", "value", "bulk", Grade.CONVENTION)
def half_the_square(input: Any, target: Any) -> Any:
    """optax.l2_loss and scikit-learn's HalfSquaredError under the name of the other."""
    r = input - target
    return r * r / 2


@mistake("mse_loss", "value", "bulk", Grade.LOSES_DIGITS, "float16")
def square_multiplied_out(input: Any, target: Any) -> Any:
    """x^2 - 2 x t + t^2 cancels where x is near t: distances by matrix product in scikit-learn."""
    return input * input - 2 * input * target + target * target


@mistake("smooth_l1_loss", "gradient", "reductions")
def gradient_of_the_sum(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """The upstream gradient, 1 / N for a mean, is ignored: pytorch#94226."""
    value = refloss.smooth_l1_loss(input, target, reduction, beta)
    return value, refloss.smooth_l1_loss.grad(input, target, "sum", beta)


@mistake("mse_loss", "value", "reductions", Grade.LOSES_DIGITS)
def broadcast_to_an_outer_difference(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(N, 1) against (N,) is (N, N): torch warns, optax and NumPy do not."""
    if reduction == "none":
        return refloss.mse_loss(input, target, "none")
    r = input.astype(np.float64).reshape(-1, 1) - target.astype(np.float64).reshape(-1)
    return reduced(r * r, "mean") * (1 if reduction == "mean" else target.size)
