"""Wrong losses of probabilities and log-probabilities."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import class_last, masses, mistake

PROBABILITIES = "cross_entropy_with_probs"


@mistake(PROBABILITIES, "value", "bulk", Grade.LOSES_DIGITS, "float64")
def renormalised_and_clipped(input: Any, target: Any) -> Any:
    """Keras divides by the sum and clips to [1e-7, 1 - 1e-7]: the answer to another question."""
    p = class_last(input) / class_last(input).sum(-1, keepdims=True)
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return -(masses(input, target) * np.log(p)).sum(-1)


@mistake(PROBABILITIES, "value", "bulk", Grade.LOSES_DIGITS, "float64")
def epsilon_inside_the_logarithm(input: Any, target: Any) -> Any:
    """log(p + 1e-8) against log(0): in nearly every repository that writes its own."""
    return -(masses(input, target) * np.log(class_last(input) + 1e-8)).sum(-1)


@mistake(PROBABILITIES, "value", "zeros", Grade.CONVENTION)
def clipped_at_the_eps_of_the_format(input: Any, target: Any) -> Any:
    """scikit-learn's log_loss: 15.94 in float32 where the answer is infinite (#24315)."""
    eps = float(np.finfo(input.dtype).eps)
    p = np.clip(class_last(input.astype(np.float64)), eps, 1 - eps)
    return -(masses(input, target) * np.log(p)).sum(-1)


@mistake(PROBABILITIES, "gradient", "zeros")
def nan_where_nothing_is_expected(input: Any, target: Any) -> Any:
    """-q / p with 0 / 0 at an impossible class without mass: pytorch#89558 in other clothes."""
    value = refloss.cross_entropy_with_probs(input, target, reduction="none")
    y = np.moveaxis(masses(input, target), -1, 1 if input.ndim > 1 else 0)
    return value, -y / input


@mistake("nll_loss", "value", "ignored")
def ignored_label_picks_a_class(input: Any, target: Any) -> Any:
    """-100 is looked up like any label, as `take` with mode="wrap" does (optax, JAX)."""
    x = class_last(input)
    wrapped = (target % x.shape[-1])[..., None]
    return -np.take_along_axis(x, wrapped, -1)[..., 0]


@mistake("nll_loss", "gradient", "reductions", Grade.LOSES_DIGITS)
def class_weight_missing_in_the_gradient(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """The value is weighted and the backward pass is not (OpenCL and NPU ports, Liger#1021)."""
    value = refloss.nll_loss(input, target, weight, reduction=reduction)
    return value, refloss.nll_loss.grad(input, target, reduction=reduction)
