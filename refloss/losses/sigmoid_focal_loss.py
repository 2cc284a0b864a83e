"""Focal loss of a logit: binary cross-entropy that turns away from easy examples."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import (
    absolute,
    exp,
    exp_error,
    expm1,
    product,
    product_error,
    quotient,
    sum_error,
    where,
)
from refloss.formula.logistic import sigmoid, sigmoid_slope, softplus
from refloss.formula.pairs import power_of_pair, ratio_error
from refloss.loss import Promise, loss

Array = Any


def entropy(z: Any, t: Any) -> Any:
    """Binary cross-entropy, the factor that the focus multiplies."""
    return product(t, softplus(-z)) + product(1 - t, softplus(z))


def entropy_slope(z: Any, t: Any) -> Any:
    return (1 - t) * sigmoid(z) - t * sigmoid(-z)


def balance(t: Any, on: Any, off: Any) -> Any:
    """alpha_t: ``on`` for the positive class, ``off`` for the negative."""
    return on * t + off * (1 - t)


def miss_numerator(z: Any, t: Any) -> Any:
    """(1 + e^-|z|) m, with the miss m = 1 - p_t = (1 - t) s(z) + t s(-z)."""
    e = exp(-absolute(z))
    return (1 - t) * where(z > 0, 1, e) + t * where(z > 0, e, 1)


def focus(z: Any, t: Any, gamma: Any) -> Any:
    """m^gamma; the power would multiply an error in m, so m is carried as a pair."""
    e = exp(-absolute(z))
    rest = 1 - t
    rise, fall = where(z > 0, 1, e), where(z > 0, e, 1)
    numerator = rest * rise + t * fall
    lost = (
        where(z > 0, t, rest) * exp_error(-absolute(z))
        + sum_error(1, -t) * rise
        + product_error(rest, rise)
        + product_error(t, fall)
        + sum_error(rest * rise, t * fall)
    )
    denominator = 1 + e
    denominator_lost = sum_error(1, e) + exp_error(-absolute(z))
    miss_lost = ratio_error(numerator, lost, denominator, denominator_lost)
    return power_of_pair(numerator / denominator, miss_lost, gamma)


def miss_rate(z: Any, t: Any) -> Any:
    """m' / m. Where m has underflowed it is 0, and so is m^gamma, which it multiplies."""
    e = exp(-absolute(z))
    return (1 - 2 * t) * quotient(e, miss_numerator(z, t)) / (1 + e)


def leaning(z: Any) -> Any:
    """1 - 2 s(z) = -tanh(z / 2)."""
    d = expm1(-absolute(z))
    return where(z > 0, d, -d) / (2 + d)


def value(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = balance(target, on, off) * focus(input, target, gamma)
    return product(scale, entropy(input, target))


def input_gradient(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = balance(target, on, off) * focus(input, target, gamma)
    pull = product(miss_rate(input, target), entropy(input, target))
    return scale * (entropy_slope(input, target) + gamma * pull)


def target_gradient(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    m = miss_numerator(input, target) / (1 + exp(-absolute(input)))
    ce = entropy(input, target)
    power = focus(input, target, gamma)
    slope = gamma * product(leaning(input), quotient(ce, m)) - input
    return product((on - off) * power, ce) + product(balance(target, on, off) * power, slope)


def curvature(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = balance(target, on, off) * focus(input, target, gamma)
    rate = miss_rate(input, target)
    pull = product(rate, entropy(input, target))
    return scale * (
        sigmoid_slope(input)
        + 2 * gamma * entropy_slope(input, target) * rate
        + gamma * pull * leaning(input)
        + gamma * (gamma - 1) * product(rate, pull)
    )


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature},
)


@loss(Promise())
def sigmoid_focal_loss(
    input: Array,
    target: Array,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
    *,
    backend: str | None = None,
) -> Plan:
    """Focal loss of a logit z: alpha_t (1 - p_t)^gamma BCE(z, t).

    Here p = sigmoid(z), p_t = p t + (1 - p)(1 - t) and alpha_t = alpha t + (1 - alpha)(1 - t).

    Parameters
    ----------
    input : array
        Logits z, floating, of any shape.
    target : array
        Probability t of the positive class in [0, 1], in the shape and dtype of ``input``.
    alpha : float or None
        Weight of the positive class in [0, 1]; None leaves alpha_t out.
    gamma : float
        How strongly easy examples are silenced, >= 0; 0 gives weighted binary cross-entropy.
    reduction : {"mean", "none", "sum"}
        The mean divides by the number of elements.
    backend : {"numba", "array"}, optional
        Numba for NumPy arrays, whole arrays for any other library, by default.

    Returns
    -------
    array
        A scalar, or with ``reduction="none"`` an array of the shape of ``input``.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, shape or range; the message says which and how.

    Notes
    -----
    Smooth for finite logits; infinite ones have their limits. The gradient is finite for every
    gamma, below 1 too, where a plain formula divides 0 by 0. NaN stays in its element.
    Error: at most 1 ulp below float64 and 4 ulp in float64. For soft targets the terms of the
    derivatives may cancel; the error is then counted in ulps of the largest term.
    torchvision defaults to ``reduction="none"`` and turns alpha off with -1; Keras applies alpha
    only with ``apply_class_balancing``; optax defaults to no alpha.

    References
    ----------
    T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5.

    Examples
    --------
    >>> import numpy as np, refloss
    >>> refloss.sigmoid_focal_loss(np.array([0.0]), np.array([1.0]), alpha=None)
    np.float64(0.17328679513998632)
    """
    x = arguments.floating("input", input)
    t = arguments.floating_like("target", target, x)
    arguments.probabilities("target", t)
    on = off = 1.0
    if alpha is not None:
        on = arguments.number("alpha", alpha, low=0, high=1)
        off = 1 - on
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        parameters={"on": on, "off": off, "gamma": arguments.number("gamma", gamma, low=0)},
        backend=backend,
    )
