"""The logistic function and its relatives, in words: what every binary loss is built from."""

from typing import Any

from refloss.formula.words import absolute, exp, log1p, where


def sigmoid(z: Any) -> Any:
    """1 / (1 + e^-z). The exponential never grows, so neither tail overflows or cancels."""
    e = exp(-absolute(z))
    return where(z > 0, 1, e) / (1 + e)


def softplus(z: Any) -> Any:
    """log(1 + e^z), to full relative accuracy in both tails."""
    tail = log1p(exp(-absolute(z)))
    return where(z > 0, z + tail, tail)


def sigmoid_slope(z: Any) -> Any:
    """sigmoid(z) sigmoid(-z), the derivative of sigmoid."""
    e = exp(-absolute(z))
    return e / ((1 + e) * (1 + e))
