"""Triplets of an anchor, regrouped, in words.

With d_1 <= ... <= d_m the distances of an anchor's negatives and t = d_p + margin for one of its
positives, the k negatives with d_n < t are the active ones, and

    sum_n max(0, t - d_n) = k t - (d_1 + ... + d_k).

So every positive costs one search and one look at the running sums, not m terms.
"""

from typing import Any

from refloss.formula.words import sum_error, where


def reach(distance: Any, margin: Any) -> Any:
    """t: negatives that are nearer than this are active."""
    return distance + margin


def regrouped(
    reach: Any, below: Any, passed: Any, running: Any, running_low: Any, start: Any, start_low: Any
) -> Any:
    """The sum over the negatives from number ``passed`` up to number ``below``.

    The running sums are pairs, that up to ``below`` and that up to ``passed``.
    """
    number = below - passed
    sums = running - start
    lost = sum_error(running, -start) + (running_low - start_low)
    return where(number > 0, (number * reach - sums) - lost, 0)
