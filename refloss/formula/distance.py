"""The p-norm of a difference of two vectors, in words.

With r_d the components of the difference and m the largest of their absolute values, the shares
|r_d| / m lie in [0, 1] and one of them is 1, so their powers neither overflow nor all vanish:

    ||r||_p = m (sum_d (|r_d| / m)^p)^(1/p),    its slope: sign(r_d) (|r_d| / ||r||_p)^(p-1).

The sum over the components is the kernel's. Each norm is three formulas: a *term* of that sum, the
*root* that makes a distance of it, and the *slope*. Where the distance is zero, or the absolute
value of a component is for p = 1, the slope may be anything in [-1, 1]; here it is 0. For p = inf
the components that tie for the largest share it evenly.
"""

from typing import Any

from refloss.formula.pairs import power_of_pair, ratio_error
from refloss.formula.words import INFINITY, absolute, power, quotient, sqrt, sum_error, where


def size(x: Any) -> Any:
    """|x|."""
    return absolute(x)


def residual(x: Any, y: Any, eps: Any) -> Any:
    """x - y + eps, rounded about once: the three may cancel."""
    r = x - y
    return (r + eps) + (sum_error(x, -y) + sum_error(r, eps))


def residual_error(x: Any, y: Any, eps: Any) -> Any:
    """What ``residual`` lost to rounding."""
    r = x - y
    return sum_error(r + eps, sum_error(x, -y) + sum_error(r, eps))


def share(residual: Any, top: Any) -> Any:
    """|r| / m; with an infinite m, 1 for what is infinite itself."""
    finite = where(top < INFINITY, size(residual) / top, where(size(residual) < INFINITY, 0, 1))
    return where(top == 0, 0, finite)


def share_error(residual: Any, residual_error: Any, top: Any) -> Any:
    """What ``share`` lost to rounding; a power would multiply it by p."""
    lost = where(residual < 0, -residual_error, residual_error)
    finite = where(top < INFINITY, ratio_error(size(residual), lost, top, 0), 0)
    return where(top == 0, 0, finite)


def sign(residual: Any) -> Any:
    return where(residual > 0, 1, where(residual < 0, -1, 0))


# p = 1


def absolute_term(share: Any) -> Any:
    return share


def absolute_root(total: Any, top: Any) -> Any:
    return where(total == 0, total, top * total)


def absolute_slope(residual: Any) -> Any:
    return sign(residual)


# p = 2


def square_term(share: Any) -> Any:
    return share * share


def square_root(total: Any, top: Any) -> Any:
    return where(total == 0, total, top * sqrt(total))


def square_slope(residual: Any, share: Any, total: Any) -> Any:
    return sign(residual) * quotient(share, sqrt(total))


# Any other p


def power_term(share: Any, share_error: Any, p: Any) -> Any:
    return power_of_pair(share, share_error, p)


def power_root(total: Any, top: Any, p: Any) -> Any:
    return where(total == 0, total, top * power(total, 1 / p))


def power_slope(residual: Any, share: Any, share_error: Any, total: Any, p: Any) -> Any:
    steepness = power_of_pair(share, share_error, p - 1)
    return sign(residual) * quotient(steepness, power(total, (p - 1) / p))


# p = inf


def largest_term(share: Any) -> Any:
    """1 for each component that reaches the largest: their sum counts them."""
    return where(share == 1, 1, 0)


def largest_root(top: Any) -> Any:
    return top


def largest_slope(residual: Any, share: Any, total: Any) -> Any:
    return sign(residual) * quotient(largest_term(share), total)


# The square of the distance for p = 2


def squared(total: Any, top: Any) -> Any:
    return total * top * top


def squared_slope(residual: Any) -> Any:
    return 2 * residual


# The slopes of whole vectors that are weighted: a rate for each pair, a step for each component


def step(residual: Any) -> Any:
    return residual


def square_rate(weight: Any, distance: Any) -> Any:
    """With the residual as its step; two equal vectors do not move each other."""
    return where(distance == 0, 0, weight / distance)


def squared_rate(weight: Any) -> Any:
    """With the residual as its step."""
    return 2 * weight


def absolute_rate(weight: Any) -> Any:
    """With the sign as its step."""
    return weight
