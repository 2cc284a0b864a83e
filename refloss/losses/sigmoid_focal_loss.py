"""Focal loss of a logit: binary cross-entropy that turns away from easy examples."""

from typing import Any

from refloss import arguments
from refloss.dispatch import elementwise
from refloss.evaluation import Formulas, Plan
from refloss.formula import (
    INFINITY,
    absolute,
    exp,
    product,
    product_error,
    quotient,
    sum_error,
    where,
)
from refloss.formula.exponential import log1p_of_share
from refloss.formula.logistic import decay, decay_error, leaning, sigmoid_slope
from refloss.formula.pairs import (
    TINY,
    blend,
    blend_parts,
    power_parts,
    product_parts,
    ratio_error,
    ratio_parts,
)
from refloss.loss import Promise, loss

Array = Any


def softplus_parts(z: Any) -> tuple[Any, Any]:
    """log(1 + e^z) as a pair, an ulp of which the focus cannot spare."""
    tail = log1p_of_share(decay(z))
    lost = decay_error(z) * (1 / (1 + decay(z)))
    return where(z > 0, z + tail, tail), where(z > 0, sum_error(z, tail), 0) + lost


def entropy_parts(z: Any, t: Any) -> tuple[Any, Any]:
    """Binary cross-entropy as a pair, the factor that the focus multiplies."""
    off, off_lost = softplus_parts(-z)
    on, on_lost = softplus_parts(z)
    whole, lost = blend_parts(t, off, 1 - t, on)
    return whole, lost + t * off_lost + (1 - t) * on_lost + product(sum_error(1, -t), on)


def entropy(z: Any, t: Any) -> Any:
    """Binary cross-entropy."""
    whole, lost = entropy_parts(z, t)
    return whole + lost


# With e = e^-|z|, the numerator of s(z) over 1 + e is ``rise``, that of s(-z) is ``fall``.


def rise(z: Any) -> Any:
    return where(z > 0, 1, decay(z))


def fall(z: Any) -> Any:
    return where(z > 0, decay(z), 1)


def entropy_slope_parts(z: Any, t: Any) -> tuple[Any, Any]:
    """s(z) - t = (1 - t) s(z) - t s(-z) as a pair, whose terms cancel where z is right."""
    push, pull = (1 - t) * rise(z), t * fall(z)
    lost = (
        where(z > 0, -t, 1 - t) * decay_error(z)
        + sum_error(1, -t) * rise(z)
        + product_error(1 - t, rise(z))
        - product_error(t, fall(z))
        + sum_error(push, -pull)
    )
    return ratio_parts(push - pull, lost, 1 + decay(z), denominator_error(z))


def entropy_slope(z: Any, t: Any) -> Any:
    """The same, rounded."""
    whole, lost = entropy_slope_parts(z, t)
    return whole + lost


def balance_parts(t: Any, on: Any, off: Any) -> tuple[Any, Any]:
    """alpha_t as a pair: ``on`` for the positive class, ``off`` for the negative."""
    whole, lost = blend_parts(on, t, off, 1 - t)
    return whole, lost + off * sum_error(1, -t)


def balance(t: Any, on: Any, off: Any) -> Any:
    """alpha_t."""
    whole, lost = balance_parts(t, on, off)
    return whole + lost


def miss_numerator(z: Any, t: Any) -> Any:
    """(1 + e) m, with the miss m = 1 - p_t = (1 - t) s(z) + t s(-z)."""
    return (1 - t) * rise(z) + t * fall(z)


def miss_numerator_error(z: Any, t: Any) -> Any:
    """What ``miss_numerator`` lost to rounding."""
    return (
        where(z > 0, t, 1 - t) * decay_error(z)
        + sum_error(1, -t) * rise(z)
        + product_error(1 - t, rise(z))
        + product_error(t, fall(z))
        + sum_error((1 - t) * rise(z), t * fall(z))
    )


def denominator_error(z: Any) -> Any:
    """What 1 + e lost to rounding."""
    return sum_error(1, decay(z)) + decay_error(z)


def miss_parts(z: Any, t: Any) -> tuple[Any, Any]:
    """m as a pair."""
    numerator, lost = miss_numerator(z, t), miss_numerator_error(z, t)
    return ratio_parts(numerator, lost, 1 + decay(z), denominator_error(z))


def miss(z: Any, t: Any) -> Any:
    m, lost = miss_parts(z, t)
    return m + lost


def focus_on_mixed(z: Any, t: Any, gamma: Any) -> tuple[Any, Any]:
    """m^gamma as a pair; the power would multiply an error in m, so m is one as well."""
    m, lost = miss_parts(z, t)
    return power_parts(m, lost, gamma)


def focus_on_right(z: Any, gamma: Any) -> tuple[Any, Any]:
    """m^gamma as a pair where a hard target and z agree: m = e / (1 + e), also where e underflows.

    The numerator is infinite where the focus has an exponent below 0 and z is far.
    """
    exponent = product(gamma, absolute(z))
    numerator = exp(-exponent)
    lost = -numerator * product_error(gamma, absolute(z))
    denominator, lost_below = power_parts(1 + decay(z), denominator_error(z), gamma)
    whole, lost = ratio_parts(numerator, lost, denominator, lost_below)
    is_usual = where(numerator < INFINITY, denominator, INFINITY) < INFINITY
    return whole, where(is_usual, lost, 0)


def focus_parts(z: Any, t: Any, gamma: Any) -> tuple[Any, Any]:
    """m^gamma as a pair."""
    is_right = t == where(z > 0, 1, 0)
    right, right_lost = focus_on_right(z, gamma)
    mixed, mixed_lost = focus_on_mixed(z, t, gamma)
    return where(is_right, right, mixed), where(is_right, right_lost, mixed_lost)


def focus(z: Any, t: Any, gamma: Any) -> Any:
    """m^gamma."""
    whole, lost = focus_parts(z, t, gamma)
    return whole + lost


def focused(x: Any, z: Any, t: Any, gamma: Any) -> Any:
    """m^gamma x, by halves where m^gamma underflows although the product may not."""
    whole, half = focus(z, t, gamma), focus(z, t, gamma / 2)
    return where(whole < TINY, product(half, product(half, x)), product(whole, x))


def miss_rate_parts(z: Any, t: Any) -> tuple[Any, Any]:
    """m' / m as a pair. Where m has underflowed it is 0, and so is m^gamma, which it multiplies."""
    e = decay(z)
    n = miss_numerator(z, t)
    lost = ratio_error(
        e,
        decay_error(z),
        n * (1 + e),
        product_error(n, 1 + e) + n * denominator_error(z) + miss_numerator_error(z, t) * (1 + e),
    )
    whole = where(n > 0, e / (n * (1 + e)), n)
    return product_parts(1 - 2 * t, sum_error(1, -2 * t), whole, where(n > 0, lost, 0))


def miss_rate(z: Any, t: Any) -> Any:
    """The same, rounded."""
    whole, lost = miss_rate_parts(z, t)
    return whole + lost


def value(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = product_parts(*balance_parts(target, on, off), *focus_parts(input, target, gamma))
    surprise, surprise_lost = entropy_parts(input, target)
    whole, lost = product_parts(*scale, surprise, surprise_lost)
    return where(surprise < INFINITY, whole + lost, product(scale[0], surprise))


def input_gradient(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = product_parts(*balance_parts(target, on, off), *focus_parts(input, target, gamma))
    surprise, surprise_lost = entropy_parts(input, target)
    rate, rate_lost = miss_rate_parts(input, target)
    pull, lost = product_parts(rate, rate_lost, surprise, surprise_lost)
    is_finite = surprise < INFINITY
    pull, lost = where(is_finite, pull, product(rate, surprise)), where(is_finite, lost, 0)
    pull, lost = product_parts(gamma, 0, pull, lost)
    slope, slope_lost = entropy_slope_parts(input, target)
    whole, lost = product_parts(*scale, slope + pull, lost + slope_lost + sum_error(slope, pull))
    return whole + lost


def curvature(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    scale = balance(target, on, off) * focus(input, target, gamma)
    rate = miss_rate(input, target)
    pull = product(rate, entropy(input, target))
    plain = (
        sigmoid_slope(input)
        + 2 * gamma * entropy_slope(input, target) * rate
        + gamma * pull * leaning(input)
        + gamma * (gamma - 1) * product(rate, pull)
    )
    # All terms hold e, but for a target on z's side; one that has underflowed is put in last, by
    # halves.
    n, e = miss_numerator(input, target), decay(input)
    part = (1 - 2 * target) / (n * (1 + e))
    drag = product(part, entropy(input, target))
    without_e = (
        1 / ((1 + e) * (1 + e))
        + 2 * gamma * entropy_slope(input, target) * part
        + gamma * drag * leaning(input)
        + gamma * (gamma - 1) * e * part * drag
    )
    half = exp(-absolute(input) / 2)
    faint = product(half, product(half, scale * without_e))
    return where(e < TINY, where(n < TINY, scale * plain, faint), scale * plain)


# In the derivatives by t, BCE = share |z| + log(1 + e): at an infinite z only the coefficient of
# |z| counts, so that no two infinities meet.


def share(z: Any, t: Any) -> Any:
    return where(z > 0, 1 - t, t)


def entropy_rate(z: Any, t: Any) -> Any:
    """BCE / m; 1, its limit, where both have underflowed."""
    m = miss(z, t)
    return where(m == 0, 1, entropy(z, t) / m)


def target_gradient(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    weight = balance(target, on, off)
    lean = gamma * leaning(input)
    pull = blend(lean, entropy_rate(input, target), -1, input)
    finite = blend(on - off, entropy(input, target), weight, pull)
    side = where(input > 0, -1, 1)
    part = share(input, target)
    coefficient = (on - off) * part + weight * (lean * quotient(part, miss(input, target)) + side)
    slope = where(absolute(input) < INFINITY, finite, product(coefficient, absolute(input)))
    return focused(slope, input, target, gamma)


def target_curvature(input: Any, target: Any, on: Any, off: Any, gamma: Any) -> Any:
    lean = leaning(input)
    rate = entropy_rate(input, target)
    first = blend(gamma * lean, rate, -1, input)
    second = blend((gamma - 1) * lean, rate, -2, input)
    tilt = 2 * (on - off) * focus(input, target, gamma)
    weight = balance(target, on, off)
    bend = product(gamma * lean * weight, focus(input, target, gamma - 1))
    side = where(input > 0, -1, 1)
    spread = lean * quotient(share(input, target), miss(input, target))
    coefficient = tilt * (side + gamma * spread) + bend * (2 * side + (gamma - 1) * spread)
    return where(
        absolute(input) < INFINITY,
        focused(2 * (on - off) * first, input, target, gamma)
        + product(gamma, focused(lean * weight * second, input, target, gamma - 1)),
        product(coefficient, absolute(input)),
    )


FORMULAS = Formulas(
    value,
    {"input": input_gradient, "target": target_gradient},
    {"input": curvature, "target": target_curvature},
    never_negative=True,
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
    backend : {"numba", "array", "cuda", "cuda:float32"}, optional
        By default Numba for NumPy arrays, CUDA for CuPy arrays and torch tensors on a GPU where it
        can run, whole arrays for all others. "cuda" raises ``BackendUnavailable`` where it cannot
        run. "cuda:float32" computes in float32 inside, with its own promise, and takes no float64.

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
    focusing = arguments.number("gamma", gamma, low=0, finite=True)
    return elementwise(
        FORMULAS,
        {"input": x, "target": t},
        reduction=reduction,
        parameters={
            "on": on,
            "off": off,
            "gamma": focusing,
        },
        backend=backend,
    )
