"""The softmax of a row, in words: how one class stands to the row's largest logit.

With m the largest logit, reached first at class k, and S the sum of e^(z_c - m) over all classes
*but* k, every quantity below keeps full relative accuracy where the row is confident:

    -log p_c = (m - z_c) + log1p(S),    p_c = e^(z_c - m) / (1 + S),    1 - p_k = S / (1 + S).

``logsumexp(z) - z_c`` would lose all digits there: at logits [20, 0] it is 0 in float32, while
-log p_0 is 2.06e-9.

A class infinitely far below the largest logit has p = 0 and -log p = inf, even where several logits
are +inf and the softmax of those has no limit (NaN). A row with a NaN comes with m = NaN.
"""

from typing import Any

from refloss.formula.exponential import fading
from refloss.formula.pairs import ratio, ratio_error
from refloss.formula.words import INFINITY, exp_error, log1p, sum_error, where


def gap(z: Any, top: Any, is_top: Any, temperature: Any) -> Any:
    """(m - z_c) / T; ``is_top`` is 1 for class k, whose gap is 0 even where m is infinite."""
    return where(is_top > 0, 0, (top - z) / temperature)


def gap_error(z: Any, top: Any, temperature: Any) -> Any:
    """What ``gap`` lost to rounding; at a gap of 600 it would cost the exponential 300 ulp."""
    return ratio_error(top - z, sum_error(top, -z), temperature, 0)


def decay(gap: Any, gap_error: Any) -> Any:
    """e^-(gap + gap_error)."""
    e = fading(gap)
    return e - e * gap_error


def decay_error(gap: Any, gap_error: Any) -> Any:
    """What ``decay`` lost to rounding."""
    e = fading(gap)
    return exp_error(-gap) + sum_error(e, -e * gap_error)


def surprise(gap: Any, gap_error: Any, log_mass: Any) -> Any:
    """-log p_c, from log_mass = log1p(S)."""
    return where(gap < INFINITY, gap + (log_mass + gap_error), gap)


def log_mass(tail: Any, tail_error: Any) -> Any:
    """log(1 + S), from S = tail + tail_error."""
    return log1p(tail) + tail_error / (1 + tail)


def probability(decay: Any, decay_error: Any, tail: Any, tail_error: Any) -> Any:
    """p_c."""
    p = ratio(decay, decay_error, 1 + tail, sum_error(1, tail) + tail_error)
    return where(decay == 0, 0, p)


def _complement_parts(decay: Any, is_top: Any, tail: Any) -> Any:
    return where(is_top > 0, tail, (1 - decay) + tail)


def _complement_lost(decay: Any, decay_error: Any, is_top: Any, tail: Any, tail_error: Any) -> Any:
    below = 1 - decay
    lost = sum_error(1, -decay) + sum_error(below, tail) - decay_error + tail_error
    return ratio_error(
        _complement_parts(decay, is_top, tail),
        where(is_top > 0, tail_error, lost),
        1 + tail,
        sum_error(1, tail) + tail_error,
    )


def complement(decay: Any, decay_error: Any, is_top: Any, tail: Any, tail_error: Any) -> Any:
    """1 - p_c."""
    q = _complement_parts(decay, is_top, tail) / (1 + tail)
    lost = _complement_lost(decay, decay_error, is_top, tail, tail_error)
    return where(decay == 0, 1, q + lost)


def complement_error(decay: Any, decay_error: Any, is_top: Any, tail: Any, tail_error: Any) -> Any:
    """What ``complement`` lost to rounding."""
    q = _complement_parts(decay, is_top, tail) / (1 + tail)
    lost = _complement_lost(decay, decay_error, is_top, tail, tail_error)
    return where(decay == 0, 0, (q - (q + lost)) + lost)
