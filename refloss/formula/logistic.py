"""The logistic function and its relatives, in words: what every binary loss is built from.

All stand on e = e^-|z|, which never grows: no tail overflows, and none cancels. What 1 + e and the
division lose is put back, so that the losses may spend their few ulps elsewhere; what e lost only a
power would multiply, and ``decay_error`` is for those.
"""

from typing import Any

from refloss.formula.exponential import fading, log1p_of_share
from refloss.formula.pairs import ratio, ratio_error
from refloss.formula.words import absolute, exp_error, expm1, sum_error, where


def decay(z: Any) -> Any:
    """e^-|z|."""
    return fading(absolute(z))


def decay_error(z: Any) -> Any:
    return exp_error(-absolute(z))


def sigmoid(z: Any) -> Any:
    """1 / (1 + e^-z)."""
    e = decay(z)
    numerator = where(z > 0, 1, e)
    return ratio(numerator, 0, 1 + e, sum_error(1, e))


def tail(z: Any) -> Any:
    """log(1 + e^-|z|)."""
    return log1p_of_share(decay(z))


def softplus(z: Any) -> Any:
    """log(1 + e^z), to full relative accuracy in both tails."""
    return where(z > 0, z + tail(z), tail(z))


def sigmoid_slope(z: Any) -> Any:
    """sigmoid(z) sigmoid(-z), the derivative of sigmoid."""
    return sigmoid(z) * sigmoid(-z)


def leaning(z: Any) -> Any:
    """1 - 2 sigmoid(z) = -tanh(z / 2)."""
    d = expm1(-absolute(z))
    half = d / (2 + d) + ratio_error(d, 0, 2 + d, sum_error(2, d))
    return where(z > 0, half, -half)
