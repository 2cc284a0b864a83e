"""Class indices on the CPU: checked, counted and made ready for kernels in one pass over them."""

from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refloss.formula.elementary import two_sum
from refloss.kernels import threads
from refloss.kernels.cache import kept
from refloss.kernels.named import IGNORED
from refloss.kernels.weights import READ

MANY = 1 << 17  # labels, of which a thread sums the weights


class Labels(NamedTuple):
    """What is known of class indices.

    Attributes
    ----------
    array : the labels, -1 where a row is ignored; those that were given, if they are int64 and none
        is ignored
    kept : how many are not ignored
    wrong : how many are neither a class nor to be ignored
    """

    array: NDArray[np.int64]
    kept: int
    wrong: int


def _mark(labels: Any, classes: int, ignored: int, ignores: bool, out: Any) -> tuple[int, int]:
    counted: Any = 0
    right: Any = 0
    for i in range(labels.size):
        label = labels[i]
        is_class = np.uint64(label) < np.uint64(classes)
        is_silent = (label == ignored) & ignores
        is_kept = is_class & (not is_silent)
        counted += is_kept
        right += is_class | is_silent
        out[i] = label if is_kept else IGNORED
    return counted, labels.size - right


def _count(labels: Any, classes: int) -> int:
    counted: Any = 0
    for i in range(labels.size):
        counted += np.uint64(labels[i]) < np.uint64(classes)
    return int(counted)


def _weigh(labels: Any, weights: Any) -> tuple[float, float]:
    high = low = 0.0
    for i in range(labels.size):
        label = labels[i]
        if 0 <= label < weights.size:  # as it was, unless somebody has changed it since
            high, lost = two_sum(high, np.float64(weights[label]))
            low += lost
    return high, low


_INT64 = np.dtype(np.int64)

_count = kept(_count)
_mark = kept(_mark)
_weigh = kept(_weigh)


def marked(labels: NDArray[np.int64], classes: int, ignored: int) -> Labels:
    """The labels of a call, which keep their shape."""
    ignored = index(ignored)
    as_it_is = labels.dtype == _INT64 and labels.flags.c_contiguous and labels.flags.aligned
    if as_it_is and not 0 <= ignored < classes:
        flat = labels if labels.ndim == 1 else labels.reshape(-1)
        if _count(flat, classes) == flat.size:
            return Labels(labels, flat.size, 0)
    flat = np.ascontiguousarray(labels).reshape(-1)
    out = np.empty(flat.size, np.int64)
    ignores = -(2**63) <= ignored < 2**63  # what is no int64 is no label either
    counts = _mark(flat, classes, ignored if ignores else 0, ignores, out)
    return Labels(out.reshape(labels.shape), *counts)


def weight_of(labels: NDArray[np.int64], weights: NDArray[Any]) -> float:
    """The sum of the weights of the rows' classes; a label of -1 counts for nothing."""
    if weights.dtype not in READ:
        weights = weights.astype(np.float64)
    high, low = _weigh_in_parts(labels.reshape(-1), weights)
    return high + low if abs(high) < np.inf else high


def _weigh_in_parts(labels: NDArray[np.int64], weights: NDArray[Any]) -> tuple[float, float]:
    if labels.size <= MANY:
        found: tuple[float, float] = _weigh(labels, weights)
        return found
    cuts = [labels[start : start + MANY] for start in range(0, labels.size, MANY)]
    high = low = 0.0
    for part, lost_there in threads.over(cuts, lambda cut: _weigh(cut, weights)):
        high, lost = two_sum(high, part)
        low += lost + lost_there
    return high, low
