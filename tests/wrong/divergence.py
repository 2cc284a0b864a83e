"""Wrong divergences."""

from typing import Any

import numpy as np

import refloss
from refloss.accuracy import Grade

from .mistake import mistake


@mistake("kl_div", "value", "bulk")
def arguments_swapped(input: Any, target: Any) -> Any:
    """KL(q || p) for KL(p || q): torch takes the model first, as no book does."""
    x, t = input.astype(np.float64), target.astype(np.float64)
    return np.exp(x) * (x - np.log(t))


@mistake("kl_div", "value", "zeros", Grade.CONVENTION)
def zero_times_log_zero(input: Any, target: Any) -> Any:
    """NaN where there is no mass: optax PR #431, torch with log_target."""
    x, t = input.astype(np.float64), target.astype(np.float64)
    return t * (np.log(t) - x)


@mistake("kl_div", "value", "reductions")
def batchmean_is_mean(
    input: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Any:
    """Divided by the number of elements, whatever was asked: pytorch#5801 and the 2.13 warning."""
    reduction = "mean" if reduction == "batchmean" else reduction
    return refloss.kl_div(input, target, reduction, log_target)


@mistake("kl_div", "value", "tails")
def both_arguments_clipped(input: Any, target: Any) -> Any:
    """Keras clips both to [1e-7, 1]: finite, and biased."""
    q, t = np.clip(np.exp(input), 1e-7, 1), np.clip(target, 1e-7, 1)
    return t * np.log(t / q)


@mistake("kl_div", "gradient", "bulk")
def gradient_of_the_other_argument(input: Any, target: Any) -> Any:
    """log t - x + 1 belongs to the target; Liger#1021 lost it, others return it for the input."""
    value = refloss.kl_div(input, target, "none")
    return value, refloss.kl_div.grad(input, target, "none", wrt="target")


@mistake("gaussian_kl", "value", "bulk", Grade.CONVENTION)
def one_half_forgotten(mu: Any, logvar: Any) -> Any:
    """Twice the divergence, in many variational autoencoders."""
    return 2 * refloss.gaussian_kl(mu, logvar, "none")


@mistake("gaussian_kl", "value", "cancelling", Grade.LOSES_DIGITS)
def exponential_minus_its_tangent(mu: Any, logvar: Any) -> Any:
    """e^v - 1 - v in this order is noise near v = 0, and may be negative."""
    return np.float32(0.5) * (mu * mu + np.exp(logvar) - 1 - logvar)


@mistake("gaussian_kl", "value", "bulk", Grade.LOSES_DIGITS)
def standard_deviation_for_variance(mu: Any, logvar: Any) -> Any:
    """log sigma for log sigma^2: both parametrisations are in use, and get mixed."""
    mu, logvar = mu.astype(np.float64), logvar.astype(np.float64)
    return (mu**2 + np.exp(2 * logvar) - 1 - 2 * logvar) / 2


@mistake("gaussian_kl", "gradient", "bulk")
def gradient_with_the_wrong_sign(mu: Any, logvar: Any) -> Any:
    """The reconstruction term is subtracted, and so is the gradient of this one."""
    return refloss.gaussian_kl(mu, logvar, "none"), -mu


@mistake("distillation_loss", "value", "bulk", Grade.CONVENTION)
def temperature_not_squared(input: Any, teacher: Any, temperature: float = 1.0) -> Any:
    """Without T^2 the loss fades as T grows, against Hinton's section 2."""
    value = refloss.distillation_loss(input, teacher, temperature, "none")
    return value / np.float32(temperature) ** 2


@mistake("distillation_loss", "value", "bulk")
def student_not_tempered(input: Any, teacher: Any, temperature: float = 1.0) -> Any:
    """Only the teacher is divided by the temperature."""
    warm = input.astype(np.float64) * temperature
    return refloss.distillation_loss(warm, teacher.astype(np.float64), temperature, "none")
